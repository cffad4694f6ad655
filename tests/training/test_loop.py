from __future__ import annotations

import json

import pytest
import torch

from depcli.errors import BadInput, Incompatible
from depcli.training import checkpoints
from depcli.training.budget import Budget
from depcli.training.loop import Loop
from depcli.training.options import TrainOptions
from depcli.training.step import review_losses
from tests.training.made import make_examples, new_adapter

OPTIONS = TrainOptions(epochs=3, batch_size=2, patience=3)


class Stop(Exception):
    """Stands for a kill: the loop gets no chance to save."""


def run(
    parts,
    folder,
    *,
    stop_after: int | None = None,
    interrupt: type[BaseException] = Stop,
    resume=False,
    options=OPTIONS,
    validate=None,
    budget=None,
    told=None,
):
    model, tokenizer = parts
    examples, adapter, steps = make_examples(tokenizer), new_adapter(), 0

    def on_event(event):
        nonlocal steps
        steps += "loss" in event
        if told is not None:
            told.append(event)
        if steps == stop_after:
            raise interrupt

    def loss(adapter):
        nats, tokens = review_losses(model, adapter, examples, 500)
        value = float(nats.sum() / tokens.sum())
        return {"score": -value, "loss": value}

    loop = Loop(
        model,
        adapter,
        examples,
        options,
        rate=1e-2,
        budget=budget or Budget(500),
        validate=validate or loss,
        folder=folder,
        settings={"epochs": options.epochs, "seed": options.seed},
        on_event=on_event,
    )
    if resume:
        loop.resume()
    return loop.run(), adapter


def metrics(folder, *names):
    return [[event.get(name) for name in names] for event in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())]


@pytest.mark.parametrize("stop_after", [1, 3, 4, 7])
def test_interrupted_and_resumed_equals_uninterrupted(parts, tmp_path, stop_after):
    _, whole = run(parts, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(parts, tmp_path / "cut", stop_after=stop_after, interrupt=KeyboardInterrupt)
    progress, resumed = run(parts, tmp_path / "cut", resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert progress.step == 9
    names = ("step", "epoch", "loss", "validation_loss")
    assert metrics(tmp_path / "cut", *names) == metrics(tmp_path / "whole", *names)


def test_killed_it_goes_on_from_the_last_checkpoint(parts, tmp_path):
    _, whole = run(parts, tmp_path / "whole")
    with pytest.raises(Stop):
        run(parts, tmp_path / "cut", stop_after=5)  # the checkpoint is that of the first epoch's end, step 3
    with open(tmp_path / "cut" / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "lo')
    _, resumed = run(parts, tmp_path / "cut", resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert metrics(tmp_path / "cut", "step", "loss") == metrics(tmp_path / "whole", "step", "loss")


def test_a_checkpoint_says_what_the_run_was_begun_with(parts, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(parts, tmp_path, stop_after=4, interrupt=KeyboardInterrupt)
    begun = checkpoints.settings_of(tmp_path)
    checkpoints.check_same(begun, {"epochs": 3, "seed": 0})
    lies = ({"backbone": {"name": name, "revision": "r"}, "backbone_folder": f"/{name}"} for name in ("here", "there"))
    checkpoints.check_same(begun | next(lies), {"epochs": 3, "seed": 0} | next(lies))
    with pytest.raises(Incompatible, match='backbone.revision: expected "r", found "s"'):
        checkpoints.check_same({"backbone": {"name": "a", "revision": "r"}}, {"backbone": {"name": "a", "revision": "s"}})
    with pytest.raises(Incompatible, match="seed: expected 0, found 1"):
        checkpoints.check_same(begun, {"epochs": 3, "seed": 1})
    split = {"name": "leave-last-out", "digest": "a"}
    for more, said in (({}, "another version of dep"), ({"name": "time:2009"}, "leave these options out")):
        with pytest.raises(Incompatible) as refused:
            checkpoints.check_same({"split": split, "seed": 0}, {"split": {**split, "digest": "b", **more}, "seed": 0})
        assert said in refused.value.hint
    whole = checkpoints.path_of(tmp_path).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no checkpoint"):
        checkpoints.path_of(tmp_path).write_bytes(damaged)
        with pytest.raises(BadInput, match="last.pt is damaged"):
            checkpoints.settings_of(tmp_path)


def test_it_keeps_the_best_epoch_and_stops_when_nothing_improves(parts, tmp_path):
    scores, seen = iter([1.0, 3.0, 2.0, 2.0, 9.0]), []

    def validate(adapter):
        seen.append({name: tensor.clone() for name, tensor in adapter.state_dict().items()})
        return {"score": next(scores)}

    options = TrainOptions(epochs=5, batch_size=2, patience=2)
    progress, adapter = run(parts, tmp_path, options=options, validate=validate)
    assert len(seen) == 4 and progress.best_epoch == 1
    assert all(torch.equal(tensor, adapter.state_dict()[name]) for name, tensor in seen[1].items())


def test_loss_falls(parts, tmp_path):
    run(parts, tmp_path, options=TrainOptions(epochs=8, batch_size=2))
    losses = [gen for gen, loss in metrics(tmp_path, "gen", "loss") if loss is not None]
    assert sum(losses[-3:]) < sum(losses[:3])
