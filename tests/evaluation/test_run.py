"""The whole road of an evaluation on a real store, a real (tiny, random) backbone and a real adapter."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean

import pytest

from depcli.backbones.sequence import encode
from depcli.errors import BadInput, Incompatible, NotFound
from depcli.evaluation import predictions as files
from depcli.evaluation import report
from depcli.evaluation.likelihood import Scorer
from depcli.evaluation.run import evaluate, request_id
from depcli.evaluation.scoring import score_files
from depcli.evaluation.significance import paired_bootstrap
from depcli.evaluation.split import choose, leave_last_out
from depcli.records import Sampling
from tests.evaluation.world import USERS, make_store, make_writers, reviews

SAMPLING = Sampling(max_new_tokens=10, seed=3)


@pytest.fixture(scope="module")
def evaluation(snapshot, engine):
    """evaluate(out, **changes) with everything but the folder given."""
    split = leave_last_out(snapshot)
    writers = make_writers(snapshot, engine, split)

    def run(out: Path, *, names=("nonperso", "rag", "dep"), limit=None, **changes):
        arguments = {
            "snapshot": snapshot, "split": split, "targets": choose(split, "test", limit), "sampling": SAMPLING, "out": out,
            "methods": {name: writers[name] for name in names}, "scorer": Scorer(engine.model, engine.tokenizer, 50),
            "settings": {"backbone": "tiny", "engine": engine.name},
        }  # fmt: skip
        return evaluate(**arguments | changes)

    return run


@pytest.fixture(scope="module")
def finished(evaluation, tmp_path_factory):
    """(folder, results) of one whole run. Do not write into the folder."""
    out = tmp_path_factory.mktemp("eval") / "run"
    return out, evaluation(out)


def lines(out: Path, name: str = files.PREDICTIONS) -> list[dict]:
    return list(files.read_lines(out / name))


def steady(results: dict) -> dict:
    """Without what may differ between two equal runs: when, and how long."""
    kept = {key: value for key, value in results.items() if key != "created"}
    kept["methods"] = {name: {k: v for k, v in found.items() if k != "generation"} for name, found in results["methods"].items()}
    return kept


def test_every_prediction_names_what_it_is_of(finished):
    out, _ = finished
    real = {(review.user_id, review.asin): review for review in reviews()}
    made = lines(out)
    assert len(made) == 3 * len(USERS) == len({(entry["method"], entry["id"]) for entry in made})
    for entry in made:
        assert entry["reference"] == real[entry["user_id"], entry["asin"]].text
        assert entry["generated_tokens"] <= 10 and entry["finish"] in ("stop", "length")
        assert len(entry["shown"]) == (0 if entry["method"] == "nonperso" else 2)
        assert entry["asin"] not in entry["shown"]
    seeds = {entry["id"]: set() for entry in made}
    for entry in made:
        seeds[entry["id"]].add(entry["seed"])
    assert all(len(found) == 1 for found in seeds.values()), "methods share the seed of a request"
    assert len(set().union(*seeds.values())) == len(USERS), "requests do not"


def test_results_are_what_the_files_say(finished, snapshot):
    out, results = finished
    stored = json.loads((out / files.RESULTS).read_text())
    assert stored == results
    assert results["schema"] == 1 and results["requests"] == results["users"] == len(USERS)
    settings = results["settings"]
    assert settings["split_digest"] == leave_last_out(snapshot).digest and settings["store_commit"] == snapshot.commit.id
    assert settings["sampling"]["seed"] == 3 and settings["backbone"] == "tiny"
    scores = lines(out, files.SCORES)
    for name, found in results["methods"].items():
        made = [entry for entry in lines(out) if entry["method"] == name]
        weighed = [entry for entry in lines(out, files.NLL) if entry["method"] == name]
        mine = [entry for entry in scores if entry["method"] == name]
        assert found["mean_generated_tokens"] == fmean(entry["generated_tokens"] for entry in made)
        assert found["stopped_by_length"] == sum(entry["finish"] == "length" for entry in made)
        assert found["nll"]["per_token"] == pytest.approx(sum(e["nats"] for e in weighed) / sum(e["tokens"] for e in weighed))
        assert found["nll"]["per_request"] == pytest.approx(fmean(entry["nll_per_token"] for entry in mine))
        assert found["metrics"]["rouge1"]["value"] == pytest.approx(fmean(entry["rouge1"] for entry in mine))
        assert all(found["metrics"][metric]["signature"] for metric in found["metrics"])
        assert found["generation"]["requests"] == len(USERS)


def test_likelihoods_are_of_the_real_review_after_each_method_s_prompt(finished, evaluation, engine, snapshot):
    import torch

    out, _ = finished
    split = leave_last_out(snapshot)
    writer = make_writers(snapshot, engine, split)["nonperso"]
    from depcli.evaluation.split import pairs_of

    target = choose(split, "test")[0]
    request, text = next(pairs_of([target], snapshot))
    entry = encode(writer.soft(writer.builder.build(request)).parts, engine.tokenizer, text, 50)
    ids = torch.from_numpy(entry.ids).long()[None]
    with torch.no_grad():
        chances = torch.log_softmax(engine.model(input_ids=ids).logits[0].double(), -1)
    expected = -sum(chances[t - 1, ids[0, t]].item() for t in range(len(entry.ids) - entry.targets, len(entry.ids)))
    found = next(e for e in lines(out, files.NLL) if e["method"] == "nonperso" and e["id"] == request_id(target, 3))
    assert found["nats"] == pytest.approx(expected, rel=1e-5) and found["tokens"] == entry.targets


def test_the_difference_of_likelihoods_is_the_difference_of_the_table(finished):
    _, results = finished
    pairs = [(d["method"], d["against"]) for d in results["differences"] if d["metric"] == "nll"]
    assert pairs == [("rag", "nonperso"), ("dep", "nonperso"), ("dep", "rag")]
    for found in results["differences"]:
        assert found["low"] <= found["difference"] <= found["high"] and found["requests"] == len(USERS)
        if found["metric"] == "nll":
            a, b = (results["methods"][found[who]]["nll"]["per_token"] for who in ("method", "against"))
            assert found["difference"] == pytest.approx(a - b)


def test_a_second_run_writes_nothing_and_finds_the_same(finished, evaluation):
    out, results = finished
    before = {name: (out / name).read_bytes() for name in (files.PREDICTIONS, files.NLL, files.SCORES)}
    again = evaluation(out)
    assert {name: (out / name).read_bytes() for name in before} == before
    assert steady(again) == steady(results)
    assert all(found["generation"]["requests"] == 0 for found in again["methods"].values())


def test_a_run_cut_anywhere_goes_on_to_the_same_files(finished, evaluation, tmp_path):
    out, results = finished
    whole = (out / files.PREDICTIONS).read_bytes()
    weighed = (out / files.NLL).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 0x0A]
    cuts = [1, ends[0] - 1, ends[4], ends[6] + 40, ends[-1]]
    for number, cut in enumerate(cuts):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / files.SETTINGS).write_bytes((out / files.SETTINGS).read_bytes())
        (folder / files.PREDICTIONS).write_bytes(whole[:cut])
        if cut == ends[-1]:
            (folder / files.NLL).write_bytes(weighed[: len(weighed) // 2])
        again = evaluation(folder)
        assert (folder / files.PREDICTIONS).read_bytes() == whole, cut
        assert [{**e, "nats": pytest.approx(e["nats"])} for e in lines(out, files.NLL)] == lines(folder, files.NLL)
        assert again["methods"]["dep"]["metrics"] == results["methods"]["dep"]["metrics"]


def test_more_targets_and_methods_continue_a_smaller_run(finished, evaluation, tmp_path):
    out, results = finished
    small = evaluation(tmp_path / "grown", names=("rag",), limit=2)
    assert small["requests"] == 2 and list(small["methods"]) == ["rag"] and small["differences"] == []
    grown = evaluation(tmp_path / "grown")
    by_key = {(e["method"], e["id"]): e for e in lines(out)}
    assert {(e["method"], e["id"]): e for e in lines(tmp_path / "grown")} == by_key, "a text depends on its request alone"
    for name in results["methods"]:
        assert grown["methods"][name]["metrics"] == results["methods"][name]["metrics"]
    again = evaluation(tmp_path / "grown", names=("rag",), limit=2)
    assert steady(again) == steady(small)


def test_other_settings_never_mix(finished, evaluation, snapshot, engine):
    out, _ = finished
    before = (out / files.PREDICTIONS).read_bytes()
    for changes, word in [
        ({"sampling": Sampling(max_new_tokens=10, seed=4)}, "sampling"),
        ({"settings": {"backbone": "other", "engine": engine.name}}, "backbone"),
        ({"split": leave_last_out(snapshot, targets_per_user=2)}, "split_digest"),
        ({"scorer": Scorer(engine.model, engine.tokenizer, 51)}, "max_answer_tokens"),
    ]:
        with pytest.raises(Incompatible, match=f"{word}: expected .*, found ") as caught:
            evaluation(out, **changes)
        assert "--out" in caught.value.hint
    assert (out / files.PREDICTIONS).read_bytes() == before


def test_progress_counts_up_to_the_total(evaluation, tmp_path):
    events = []
    evaluation(tmp_path / "p", names=("nonperso",), limit=3, on_progress=events.append)
    for phase in ("write", "likelihood"):
        assert [e["done_requests"] for e in events if e["phase"] == phase] == [0, 1, 2, 3]
    assert {e["total_requests"] for e in events} == {3}


def test_without_a_scorer_there_is_no_likelihood(evaluation, tmp_path):
    results = evaluation(tmp_path / "p", names=("nonperso", "rag"), limit=2, scorer=None)
    assert results["methods"]["rag"]["nll"] is None
    assert all(found["metric"] != "nll" for found in results["differences"])
    assert report.table(results)[1][0][7 - 1] == "-"


def test_nothing_to_evaluate_is_said(evaluation, engine, tmp_path):
    snapshot = make_store(tmp_path / "profiles", [r for r in reviews() if r.user_id == "few"]).snapshot()
    split = leave_last_out(snapshot)
    assert split.test == () and split.too_short == 1
    with pytest.raises(NotFound, match="nothing to evaluate"):
        evaluation(tmp_path / "out", snapshot=snapshot, split=split, targets=[])
    assert not (tmp_path / "out").exists()


def plant(out: Path, texts: dict[str, list[str]], references: list[str], users: list[str] | None = None) -> list[str]:
    """A predictions file of planted methods, of one user each where none are named; the ids."""
    ids = [f"{i:016x}" for i in range(len(references))]
    files.write_lines(
        out / files.PREDICTIONS,
        (
            {"id": key, "method": name, "user_id": user, "prediction": text, "reference": reference, "prompt_tokens": 1,
             "generated_tokens": 1, "finish": "stop", "shown": []}
            for name, column in texts.items()
            for key, user, text, reference in zip(ids, users or ids, column, references, strict=True)
        ),
    )  # fmt: skip
    return ids


def test_planted_methods_are_told_apart_and_copies_are_not(tmp_path):
    references = [f"{review.text} {review.user_id} says so about {review.asin}." for review in reviews()]
    texts = {
        "random": [f"lemon quantum {i}" for i in range(len(references))],
        "stranger": [*references[7:], *references[:7]],
        "copy": references,
        "copy2": references,
    }
    ids = plant(tmp_path, texts, references)
    scored = score_files(tmp_path, list(texts), ids)
    for metric in ("rouge1", "rougeL", "meteor", "bleu", "bertscore"):
        values = [scored["methods"][name]["metrics"][metric]["value"] for name in texts]
        if values[0] is None:
            assert metric in ("meteor", "bertscore") and scored["notes"]
            continue
        assert values[0] < values[1] < values[2] == values[3]
    for found in scored["differences"]:
        assert found["clear"] == ({found["method"], found["against"]} != {"copy", "copy2"})
        assert found["difference"] >= 0


def test_empty_texts_are_counted(tmp_path):
    ids = plant(tmp_path, {"m": ["", " \n", "A film."]}, ["A film."] * 3)
    scored = score_files(tmp_path, ["m"], ids)
    assert scored["methods"]["m"]["empty"] == 2
    assert scored["methods"]["m"]["metrics"]["rouge1"]["value"] == pytest.approx(1 / 3)
    assert scored["methods"]["m"]["nll"] is None


def test_intervals_are_over_users(tmp_path):
    references = [f"A film that {word}s on you." for word in ("grow", "fall", "turn", "dawn", "call", "count")]
    likelihoods = [
        {"id": f"{i:016x}", "method": name, "nats": 10.0 + (i * 7 % 5) * (name == "b"), "tokens": 4 + i, "cut": False}
        for name in "ab" for i in range(6)
    ]  # fmt: skip
    files.write_lines(tmp_path / files.NLL, likelihoods)
    ids = plant(tmp_path, {"a": references, "b": references}, references, ["u", "v", "u", "u", "v", "w"])
    (found, *_) = score_files(tmp_path, ["a", "b"], ids)["differences"]
    a, b = ([entry["nats"] / entry["tokens"] for entry in likelihoods if entry["method"] == name] for name in "ab")
    slow = paired_bootstrap(b, a, [4 + i for i in range(6)], ["u", "v", "u", "u", "v", "w"])
    assert (found["metric"], found["requests"], found["groups"]) == ("nll", 6, 3)
    assert (found["low"], found["high"]) == (slow.low, slow.high)


def test_damaged_predictions_are_named(tmp_path):
    ids = plant(tmp_path, {"m": ["A film."]}, ["A film."])
    with (tmp_path / files.PREDICTIONS).open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(BadInput, match="line 2"):
        score_files(tmp_path, ["m"], ids)


def test_the_report_says_who_is_better(finished):
    _, results = finished
    columns, rows = report.table(results)
    assert [row[0] for row in rows] == ["nonperso", "rag", "dep"] and all(len(row) == len(columns) for row in rows)
    assert rows[2][columns.index("NLL/token")] == f"{results['methods']['dep']['nll']['per_token']:.4f}"
    made = {
        "differences": [
            {
                "metric": metric,
                "method": "dep",
                "against": "rag",
                "difference": d,
                "low": d - 0.1,
                "high": d + 0.1,
                "clear": abs(d) > 0.1,
            }
            for metric, d in (("nll", -0.5), ("nll", 0.5), ("meteor", 0.2), ("meteor", -0.2), ("nll", 0.05))
        ]
    }
    assert [row[-1] for row in report.differences(made)[1]] == ["dep", "rag", "dep", "rag", "not clear"]
    assert report.differences(made)[1][0][:4] == ["dep - rag", "NLL/token", "-0.5000", "[-0.6000, -0.4000]"]
    assert any("paired bootstrap" in line for line in report.notes(results))
    assert report.signatures(results)["bleu"].startswith("nrefs:1")
    assert math.isfinite(results["methods"]["dep"]["mean_words"])
