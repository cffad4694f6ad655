"""The road as of a moment, and with a floor of peers: training, writing and evaluating on what existed then."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from depcli import engines
from depcli.actions.evaluating import Plan, evaluate_store
from depcli.actions.writing import find_request, make_writer
from depcli.adapters import files, seen
from depcli.demo.world import world
from depcli.errors import BadInput, Incompatible
from depcli.evaluation.studies import plain
from depcli.personal.history import moment_text
from depcli.records import Sampling
from depcli.splits import named
from depcli.splits.split import leave_last_out
from depcli.training.options import TrainOptions
from depcli.training.run import train
from tests.personal.conftest import few_people, made_store

OPTIONS = TrainOptions(epochs=1, batch_size=4, history=3, max_target_tokens=40, validation_limit=4, min_peers=2)


@pytest.fixture(scope="module")
def reviews():
    return few_people(8)[0]


@pytest.fixture(scope="module")
def moment(reviews) -> float:
    return float(np.median([review.timestamp for review in reviews]))


@pytest.fixture(scope="module")
def store(tmp_path_factory, reviews):
    return made_store(tmp_path_factory.mktemp("whole"), reviews, world()[1])


@pytest.fixture(scope="module")
def trained(store, backbone, moment):
    return train(
        store=store, backbone=backbone, folder=files.folder_of(store.path, "then"), options=replace(OPTIONS, as_of=moment)
    )


def test_training_as_of_a_moment_is_training_on_a_store_that_never_knew_more(trained, store, backbone, reviews, moment, tmp_path):
    only = made_store(tmp_path, [review for review in reviews if review.timestamp <= moment], world()[1])
    other = train(store=only, backbone=backbone, folder=tmp_path / "other", options=OPTIONS)
    assert f"leave-last-out, as of {moment_text(moment)})" in (trained.folder / files.CARD).read_text()
    assert trained.config["as_of"] == moment and other.config["as_of"] is None
    assert (
        trained.config["split"]
        == other.config["split"]
        == {
            **other.config["split"],
            "digest": leave_last_out(store.snapshot(as_of=moment)).digest,
        }
    )
    assert trained.config["split"]["digest"] != leave_last_out(store.snapshot()).digest
    assert trained.losses == pytest.approx(other.losses, abs=1e-5)
    whole, early = files.load(trained.folder)[0].state_dict(), files.load(other.folder)[0].state_dict()
    for name, tensor in whole.items():
        np.testing.assert_allclose(tensor.numpy(), early[name].numpy(), atol=2e-4, err_msg=name)


def writer(store, backbone, engine, folder, **options):
    return make_writer(
        store=store, snapshot=store.snapshot(), method="dep", backbone=backbone, engine=engine, adapter_folder=folder, **options
    )


def test_the_floor_of_peers_belongs_to_the_adapter(trained, store, backbone):
    assert trained.config["min_peers"] == files.read_config(trained.folder)["min_peers"] == 2
    with engines.load("transformers", backbone) as engine:
        for asked in (None, 2):
            assert writer(store, backbone, engine, trained.folder, min_peers=asked).builder.min_peers == 2
        with pytest.raises(Incompatible, match="differences from 2 peers or more, not from 3"):
            writer(store, backbone, engine, trained.folder, min_peers=3)
        request = find_request(store.snapshot(), store.snapshot().user_ids()[0], "new", item_title="New")
        prompt = writer(store, backbone, engine, trained.folder).builder.build(request)
        assert all((past.diff is None) == (past.peers < 2) for past in prompt.shown)


def test_evaluation_keeps_to_the_moment_of_the_adapter(trained, store, backbone, moment, tmp_path):
    def evaluate(out: str, **options):
        adapters = options.pop("adapters", {"dep": trained.folder})
        return evaluate_store(
            store=store,
            backbone=backbone,
            out=tmp_path / out,
            sampling=Sampling(max_new_tokens=4),
            variants=plain(["rag", *adapters], adapters),
            plan=Plan(limit=2, **options),
        )

    results = evaluate("adapter")
    assert results["settings"]["as_of"] == moment and results["settings"]["min_peers"] == 2
    assert results["settings"]["split_digest"] == leave_last_out(store.snapshot(as_of=moment)).digest
    for line in map(json.loads, (tmp_path / "adapter/predictions.jsonl").read_text().splitlines()):
        stored = {entry.review.asin: entry.review for entry in store.snapshot().histories([line["user_id"]])[line["user_id"]]}
        assert all(stored[asin].timestamp <= moment for asin in (*line["shown"], line["asin"]))
    with pytest.raises(Incompatible, match="was trained on the reviews up to .*, not on those up to"):
        evaluate("another moment", as_of=moment + 1)
    with pytest.raises(Incompatible, match="differences from 2 peers"):
        evaluate("another floor", min_peers=1)
    without = evaluate("text", adapters={}, as_of=moment + 1e6)
    assert without["settings"]["split_digest"] == leave_last_out(store.snapshot(as_of=moment + 1e6)).digest


def test_a_resumed_run_keeps_to_its_moment(store, backbone, moment, tmp_path):
    def interrupt(event):
        if "step" in event:
            raise KeyboardInterrupt

    common = {"store": store, "backbone": backbone, "folder": tmp_path / "cut"}
    with pytest.raises(KeyboardInterrupt):
        train(**common, options=replace(OPTIONS, as_of=moment), on_event=interrupt)
    with pytest.raises(Incompatible, match="as_of: expected"):
        train(**common, options=OPTIONS, resume=True)
    assert train(**common, options=replace(OPTIONS, as_of=moment), resume=True).config["as_of"] == moment


def test_options_that_make_no_sense():
    with pytest.raises(BadInput, match="min_peers must be 1 or more, not 0"):
        TrainOptions(min_peers=0)


def test_an_adapter_is_evaluated_on_its_own_split_alone(store, backbone, tmp_path):
    report = train(
        store=store, backbone=backbone, folder=tmp_path / "unseen", options=replace(OPTIONS, epochs=1, split="unseen-users:0.25")
    )
    split = named.make(store.snapshot(), "unseen-users:0.25")
    assert report.config["split"]["name"] == split.name and report.config["split"]["digest"] == split.digest
    assert seen.has_seen(report.config, split.unseen) and not seen.has_seen(report.config, [t.user_id for t in split.test])

    def evaluate(out: str, **options):
        return evaluate_store(
            store=store,
            backbone=backbone,
            out=tmp_path / out,
            sampling=Sampling(max_new_tokens=4),
            variants=plain(["rag", "dep"], {"dep": report.folder}),
            plan=Plan(**options),
        )

    for asked in (None, "unseen-users:0.25"):
        results = evaluate("own", split=asked)
        assert results["settings"]["split"] == split.name and results["targets"] == len(split.test)
    for other in ("leave-last-out", "unseen-users:0.3", "cold-start:2", "time"):
        with pytest.raises(Incompatible, match="trained on the split unseen-users:0.25, not on") as error:
            evaluate("other", split=other)
        assert "--split unseen-users:0.25" in error.value.hint and f"dep train --split {other}" in error.value.hint
    assert not (tmp_path / "other").exists()
    config = files.read_config(report.folder)
    knows = seen.record([*(t.user_id for t in split.train), split.test[0].user_id])
    (report.folder / files.CONFIG).write_text(json.dumps({**config, seen.KEY: knows}))
    with pytest.raises(ValueError, match="trained on users who shall be unseen"):
        evaluate("planted")
