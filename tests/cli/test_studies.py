"""`dep eval --study`: what is there is compared, and the command said for what is missing makes it."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from depcli.actions import studying
from depcli.adapters import files
from depcli.cli import main
from depcli.embedders import minilm
from depcli.errors import Incompatible, NotFound
from depcli.evaluation.results import problems
from depcli.evaluation.studies import STUDIES
from depcli.personal import template

pytestmark = pytest.mark.skipif(not minilm.installed(), reason="the minilm extra is not installed")


@pytest.fixture(scope="module")
def tiny(compact_backbone):
    return str(compact_backbone)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny):
    """Four users with five reviews, and a DEP adapter with two past reviews."""
    folder = tmp_path_factory.mktemp("studies")
    reviews = [
        {"user_id": user, "asin": f"i{n}", "text": f"{user} says {word} of number {n}.", "timestamp": 100 + n}
        for user, word in (("ann", "good"), ("bea", "bad"), ("cy", "nothing"), ("di", "much"))
        for n in range(5)
    ]
    (folder / "reviews.jsonl").write_text("\n".join(map(json.dumps, reviews)))
    profiles = str(folder / "profiles")
    assert main(["ingest", str(folder / "reviews.jsonl"), "--embedder", "minilm", "--profiles", profiles, "--quiet"]) == 0
    ask = ["train", "--backbone", tiny, "--epochs", "1", "--history", "2", "--seed", "5", "--adapter", "base", "--device", "cpu"]
    assert main([*ask, "--profiles", profiles, "--quiet"]) == 0
    return folder / "profiles"


def found(place, tiny, study, methods, *named):
    return studying.prepare(place, study, methods, named, backbone=tiny)[-1]


def test_text_alone_needs_no_adapter(place, tiny):
    k = found(place, tiny, "k", ["rag"])
    assert [variant.label for variant in k.variants] == ["K=0", "K=1", "K=2", "K=4", "K=8"] and not k.missing
    assert [variant.history for variant in k.variants] == [0, 1, 2, 4, 8]
    assert k.pairs == tuple(("K=8", f"K={n}") for n in (0, 1, 2, 4))
    retrieval = found(place, tiny, "retrieval", ["rag"])
    assert [v.choices for v in retrieval.variants] == [{"retrieval": kind} for kind in ("recency", "bm25", "dense", "random")]


def test_an_adapter_belongs_where_it_differs_in_the_studied_setting_alone(place, tiny):
    k = found(place, tiny, "k", ["dep", "rag"])
    assert [v.label for v in k.variants if v.method == "dep"] == ["dep, K=2"]
    assert set(k.missing) == {"dep, K=1", "dep, K=4", "dep, K=8"}, "without a past review there is nothing to learn"
    command = shlex.split(k.missing["dep, K=1"])
    assert command[:2] == ["dep", "train"] and {"--seed", "--history", "--at"} <= set(command)
    assert main([*command[1:], "--device", "cpu", "--quiet"]) == 0
    again = found(place, tiny, "k", ["dep", "rag"])
    assert [v.label for v in again.variants if v.method == "dep"] == ["dep, K=1", "dep, K=2"]
    assert {v.adapter.name for v in again.variants if v.adapter} == {"base", "base-history-1"}
    config = files.read_config(place / "adapters" / "base-history-1")
    (place / "adapters" / "base-history-1" / files.CONFIG).write_text(json.dumps({**config, "seed": 6}))
    try:
        assert set(found(place, tiny, "k", ["dep", "rag"], "base").missing) == set(k.missing), "another seed is another adapter"
    finally:
        (place / "adapters" / "base-history-1" / files.CONFIG).write_text(json.dumps(config))


def test_the_command_trains_with_the_template_and_the_prompts_of_the_adapter(place, tiny, tmp_path):
    """Else what it makes would not belong to the study, which then asks for it again."""
    own = tmp_path / "own.jinja"
    own.write_text((Path(template.__file__).parent / "templates" / "compact-vectors.jinja").read_text() + "{# mine #}")
    for name, options in (("vectors", ["--template", "compact-vectors"]), ("mine", ["--template", str(own)])):
        ask = ["train", "--backbone", tiny, "--history", "2", "--max-input-tokens", "500", "--adapter", name, *options]
        assert main([*ask, "--device", "cpu", "--profiles", str(place), "--quiet"]) == 0
        try:
            command = shlex.split(found(place, tiny, "k", ["dep", "rag"], name).missing["dep, K=1"])
            assert main([*command[1:], "--device", "cpu", "--quiet"]) == 0
            assert "dep, K=1" not in found(place, tiny, "k", ["dep", "rag"], name).missing
        finally:
            for made in (name, f"{name}-history-1"):
                shutil.rmtree(place / "adapters" / made, ignore_errors=True)


def test_the_adapter_that_is_said_is_the_one_that_is_varied(place, tiny):
    other = shutil.copytree(place / "adapters" / "base", place / "adapters" / "other")
    config = files.read_config(other)
    (other / files.CONFIG).write_text(json.dumps({**config, "epochs": 2, "batch_size": 8, "finished": "2099-01-01"}))
    try:
        parts, folders, reasons, _ = studying.prepare(place, "k", ["dep", "rag"], backbone=tiny)
        assert folders["dep"].name != "other" and parts.adapter == folders["dep"]
        assert reasons[0].startswith(f"adapter {parts.adapter.name}: ") and not any("adapter other" in why for why in reasons)
        for when in ("1999-01-01", "2099-01-01"):  # the same settings: the later one
            (other / files.CONFIG).write_text(json.dumps({**config, "finished": when}))
            parts, *_ = studying.prepare(place, "k", ["dep", "rag"], backbone=tiny)
            assert (parts.adapter.name == "other") is (when > "2")
    finally:
        shutil.rmtree(other)


def test_guidance_is_studied_in_a_template_that_has_some(place, tiny):
    """The adapter is of the template compact, which never says what soft tokens are."""
    with pytest.raises(NotFound, match="has 0 of the variants") as error:
        found(place, tiny, "guidance", ["dep"], "base")
    options = [[f"--{no}guidance", "--template", "full"] for no in ("", "no-")]
    assert [shlex.split(line)[-9:-6] for line in error.value.hint.splitlines()] == options
    assert main(["train", "--backbone", tiny, "--no-guidance", "--profiles", str(place), "--quiet"]) == 5


@pytest.mark.parametrize("study", ["refinement", "embeddings"])
def test_a_study_without_its_adapters_says_how_to_train_them(place, tiny, study):
    with pytest.raises(NotFound, match="has 1 of the variants") as error:
        found(place, tiny, study, ["dep"], "base")
    levels = [settings for _, settings in STUDIES[study].levels]
    commands = error.value.hint.splitlines()
    assert len(commands) == len(levels) - 1 and all(command.startswith("dep train ") for command in commands)
    assert "--history 2" in error.value.hint


def test_an_adapter_of_other_defaults_is_varied_as_it_was_trained(place, tiny):
    path = place / "adapters" / "base" / files.CONFIG
    config = files.read_config(path.parent)
    try:
        path.write_text(json.dumps({**config, "reduction": "sae", "epochs": 5, "targets_per_user": 1}))
        with pytest.raises(NotFound) as error:
            found(place, tiny, "guidance", ["dep"], "base")
        assert "--epochs 5 --targets-per-user 1" in error.value.hint and "--reduction sae" in error.value.hint
    finally:
        path.write_text(json.dumps(config))


def test_where_the_commit_of_the_adapter_is_gone_no_other_can_be_trained_like_it(place, tiny, tmp_path):
    later = shutil.copytree(place, tmp_path / "later")
    assert main(["compact", "--keep", "0", "--profiles", str(later), "--quiet"]) == 0
    with pytest.raises(NotFound, match="base was trained on a state of the store that is gone: commit") as error:
        found(later, tiny, "refinement", ["dep"], "base")
    again = f"dep train --replace --adapter base --backbone {tiny} "
    assert again in error.value.hint and error.value.hint.endswith(f"--profiles {later}") and "--at" not in error.value.hint


def test_without_an_adapter_the_studies_are_of_what_the_paper_trains(place, tiny, tmp_path):
    alone = shutil.copytree(place, tmp_path / "alone", ignore=shutil.ignore_patterns("adapters"))
    with pytest.raises(NotFound, match="has 0 of the variants") as error:
        found(alone, tiny, "refinement", ["dep"])
    commands = [command.partition(f"--backbone {tiny} ")[2] for command in error.value.hint.splitlines()]
    for kind, command in zip(("sae", "ae", "none", "pca"), commands, strict=True):
        assert command.startswith(f"--epochs 5 --targets-per-user 1 --reduction {kind} --adapter ")


def test_each_reduction_is_learned_at_its_own_rate_unless_one_is_named(place, tiny):
    path = place / "adapters" / "base" / files.CONFIG
    config, sparse = files.read_config(path.parent), shutil.copytree(path.parent, place / "adapters" / "sparse")
    large = {**config, "backbone": {**config["backbone"], "hidden_size": 3584}}

    def refinement(ours: float, papers: float):
        path.write_text(json.dumps({**large, "learning_rate": ours}))
        (sparse / files.CONFIG).write_text(json.dumps({**large, "learning_rate": papers, "reduction": "sae"}))
        return studying.find(place, "refinement", ["dep"], {"dep": path.parent}, tiny)

    try:
        by_itself, named = refinement(0.0027, 1e-5), refinement(0.001, 0.001)
        for study in (by_itself, named):
            assert [variant.label for variant in study.variants] == ["sae", "pca"]
        assert "--learning-rate" not in by_itself.missing["ae"] and "--learning-rate 0.001" in named.missing["ae"]
        with pytest.raises(NotFound, match="has 1 of the variants") as error:
            refinement(0.001, 1e-5)
        assert "--learning-rate 0.001 --reduction sae" in error.value.hint
    finally:
        path.write_text(json.dumps(config))
        shutil.rmtree(sparse)


@pytest.mark.parametrize(("study", "method"), [("k", "nonperso"), ("guidance", "rag"), ("refinement", "rag"), ("k", "pplug")])
def test_a_study_that_means_nothing_to_a_method_is_refused(place, tiny, study, method):
    with pytest.raises(Incompatible, match=f"means nothing to {method}"):
        found(place, tiny, study, [method])


def test_one_command_from_requests_to_a_table(place, tiny, tmp_path, capsys):
    ask = ["eval", "--study", "k", "--methods", "rag", "--backbone", tiny, "--max-new-tokens", "4", "--profiles", str(place)]
    page = tmp_path / "page.html"
    capsys.readouterr()
    assert main([*ask, "--out", str(tmp_path / "k"), "--report", str(page), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert problems({k: v for k, v in results.items() if k != "out"}) == []
    assert results["study"]["name"] == "k" and results["study"]["variants"]["K=2"]["history"] == 2
    assert {name: found["mean_shown_reviews"] for name, found in results["methods"].items()} == {
        "K=0": 0,
        "K=1": 1,
        "K=2": 2,
        "K=4": 4,
        "K=8": 4,
    }
    assert {(one["against"], one["method"]) for one in results["differences"]} == {("K=8", f"K={n}") for n in (0, 1, 2, 4)}
    assert "K curve" in page.read_text(encoding="utf-8")
    assert main([*ask, "--out", str(tmp_path / "k")]) == 0
    assert "study k: how many past reviews are shown" in capsys.readouterr().out
    assert main([*ask, "--history", "2"]) == 2 and "varies --history" in capsys.readouterr().err


def test_unique_users_and_the_others(place, tiny, tmp_path, capsys):
    ask = ["eval", "--study", "uniqueness", "--backbone", tiny, "--max-new-tokens", "4", "--profiles", str(place)]
    capsys.readouterr()
    assert main([*ask, "--out", str(tmp_path / "u"), "--methods", "nonperso,rag", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    unique, others = results["groups"]["parts"]
    assert (unique["name"], unique["users"], others["users"]) == ("unique", 2, 2)
    nll = {name: found["nll"]["per_token"] for name, found in results["methods"].items()}
    for name in ("nonperso", "rag"):
        low, high = sorted(part["methods"][name]["nll"]["value"] for part in (unique, others))
        assert low <= nll[name] <= high
    assert {one["method"] for one in unique["differences"]} == {"rag"}
