"""Finished runs against each other: real evaluations of a tiny backbone, with other samplings, seeds and targets."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from depcli.errors import BadInput, Incompatible, NotFound
from depcli.evaluation import predictions as files
from depcli.evaluation.between import compare_runs
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.evaluation.report import between
from depcli.evaluation.run import evaluate
from depcli.evaluation.statistics.comparing import compare
from depcli.evaluation.statistics.values import Values
from depcli.records import Sampling
from depcli.splits.split import choose, leave_last_out
from depcli.system import resumable
from tests.evaluation.world import make_writers

A, B = {"seeds": 3}, {"seeds": 2, "seed": 1, "temperature": 0.1, "limit": 4}  # of the runs "a" and "b"


@pytest.fixture(scope="module")
def evaluated(snapshot, engine, tmp_path_factory):
    """evaluated(name, **options): the folder of a finished run, made once for each name with these options."""
    split, place, made = leave_last_out(snapshot), tmp_path_factory.mktemp("runs"), {}

    def run(name: str, *, names=("nonperso", "rag"), temperature=0.8, seeds=1, seed=0, limit=None, answer=50, split=split):
        asked = (name, names, temperature, seeds, seed, limit, answer, split)
        if asked not in made:
            made[asked] = place / str(len(made)) / name
            writers = make_writers(snapshot, engine, split, names)
            evaluate(
                snapshot=snapshot,
                split=split,
                targets=choose(split, "test", limit),
                methods=writers,
                scorer=WeightsScorer(lambda: engine.model, engine.tokenizer, answer),
                sampling=Sampling(temperature, max_new_tokens=8, seed=seed),
                out=made[asked],
                settings={"engine": engine.name, "adapters": {}},
                seeds=seeds,
            )
        return made[asked]

    return run


def scores(folder) -> dict:
    lines = resumable.read_lines(folder / files.SCORES)
    return {(line["method"], (line["user_id"], line["asin"]), line["seed"]): line for line in lines}


def test_methods_of_one_name_are_compared_on_what_the_runs_share(evaluated):
    a, b = evaluated("a", **A), evaluated("b", **B)
    found = compare_runs([a, b])
    assert (found["targets"], found["users"], found["seeds"], found["requests"]) == (4, 4, [1, 2], 8)
    assert found["other_settings"] == {"sampling.temperature": [0.8, 0.1], "sampling.seed": [0, 1]}
    pairs = {(one["against"], one["method"]) for one in found["differences"]}
    assert pairs == {("nonperso (a)", "nonperso (b)"), ("rag (a)", "rag (b)")}
    first, second = scores(a), scores(b)
    targets = list(dict.fromkeys(key for _, key, _ in first if ("rag", key, 1) in second))
    assert len(targets) == 4

    def values(lines, metric):
        return Values(np.array([np.mean([lines["rag", key, seed][metric] for seed in (1, 2)]) for key in targets]))

    systems = {"a": {"rouge1": values(first, "rouge1")}, "b": {"rouge1": values(second, "rouge1")}}
    (slow,) = compare(systems, [user for user, _ in targets], [("a", "b")])
    (quick,) = (d for d in found["differences"] if (d["metric"], d["method"]) == ("rouge1", "rag (b)"))
    assert {key: quick[key] for key in ("difference", "low", "high", "p")} == pytest.approx(
        {key: slow[key] for key in ("difference", "low", "high", "p")}
    )
    assert found["systems"]["rag (b)"]["rouge1"] == pytest.approx(systems["b"]["rouge1"].each.mean())
    (likelihood,) = (d for d in found["differences"] if (d["metric"], d["method"]) == ("nll", "rag (b)"))
    assert likelihood["difference"] == 0 and likelihood["p"] == 1, "no sampling changes the likelihood of the real review"


def test_runs_that_share_no_method_are_compared_method_by_method(evaluated):
    found = compare_runs([evaluated("rag only", names=("rag",)), evaluated("dep only", names=("dep",))])
    assert {(one["against"], one["method"]) for one in found["differences"]} == {("rag (rag only)", "dep (dep only)")}


def test_three_runs_are_three_pairs(evaluated):
    runs = [evaluated("rag only", names=("rag",)), evaluated("a", **A), evaluated("b", **B)]
    with pytest.raises(Incompatible, match="no sampling seed in common .*rag only: 0; a: 0, 1, 2; b: 1, 2"):
        compare_runs(runs)
    found = compare_runs([runs[0], runs[1], evaluated("dep only", names=("dep",))])
    assert len({(one["against"], one["method"]) for one in found["differences"]}) == 1 + 1 + 2


def test_adapters_that_learned_from_more_reviews_are_compared(evaluated, snapshot):
    more = evaluated("more", split=leave_last_out(snapshot, targets_per_user=2))
    found = compare_runs([evaluated("a", **A), more])
    assert found["targets"] == 5 and found["differences"]  # one user has too few reviews for that split


def test_other_splits_are_refused(evaluated, snapshot):
    other = evaluated("other split", split=replace(leave_last_out(snapshot), name="time:2009-05-31"))
    with pytest.raises(Incompatible, match="are evaluations of other splits: expected .*, found ") as caught:
        compare_runs([evaluated("a", **A), other])
    assert "--at" in caught.value.hint


def test_likelihoods_of_other_tokens_are_left_out_and_said(evaluated):
    found = compare_runs([evaluated("a", **A), evaluated("short", answer=5)])
    assert {one["metric"] for one in found["differences"]} >= {"rouge1"}
    assert "nll" not in {one["metric"] for one in found["differences"]}
    assert any("nll is left out" in note for note in found["notes"])


def test_metrics_of_other_settings_are_left_out_and_said(evaluated, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(evaluated("a", **A), other)
    results = json.loads((other / files.RESULTS).read_text())
    for method in results["methods"].values():
        method["metrics"]["rouge1"]["signature"] = "another library"
    (other / files.RESULTS).write_text(json.dumps(results))
    found = compare_runs([evaluated("a", **A), other])
    assert "rouge1" not in {one["metric"] for one in found["differences"]} and any(
        "rouge1 is left out" in n for n in found["notes"]
    )
    assert all(one["p"] == 1 for one in found["differences"]), "a copy"


def test_bleu_of_runs_without_counts_is_left_out_and_said(evaluated, tmp_path):
    both = compare_runs([evaluated("a", **A), evaluated("b", **A)])
    assert "bleu" in {one["metric"] for one in both["differences"]} and not any("bleu" in note for note in both["notes"])
    older = tmp_path / "older"
    shutil.copytree(evaluated("a", **A), older)
    lines = [
        {name: value for name, value in line.items() if name != "bleu"} for line in resumable.read_lines(older / files.SCORES)
    ]
    resumable.write_lines(older / files.SCORES, lines)
    found = compare_runs([evaluated("b", **A), older])
    assert "bleu" not in {one["metric"] for one in found["differences"]}
    assert any("bleu is left out" in note for note in found["notes"])


def test_another_real_review_is_refused(evaluated, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(evaluated("a", **A), other)
    lines = [{**line, "real": "0" * 16} for line in resumable.read_lines(other / files.SCORES)]
    resumable.write_lines(other / files.SCORES, lines)
    with pytest.raises(Incompatible, match="some real reviews in other are not those in a"):
        compare_runs([evaluated("a", **A), other])
    resumable.write_lines(other / files.SCORES, lines[:-1])
    with pytest.raises(BadInput, match="29 lines, not 30"):
        compare_runs([evaluated("a", **A), other])


def test_one_run_twice_and_none_at_all(evaluated, tmp_path):
    with pytest.raises(Incompatible, match="more than once"):
        compare_runs([evaluated("a", **A)] * 2)
    with pytest.raises(NotFound, match="no finished evaluation"):
        compare_runs([evaluated("a", **A), tmp_path])


def test_what_a_person_reads(evaluated):
    found = compare_runs([evaluated("a", **A), evaluated("b", **B)])
    (columns, rows), (_, tested) = between.tables(found)
    assert [row[0] for row in rows] == ["nonperso (a)", "rag (a)", "nonperso (b)", "rag (b)"]
    assert rows[1][columns.index("ROUGE-1")] == f"{found['systems']['rag (a)']['rouge1']:.4f}"
    assert {row[0] for row in tested} == {"nonperso (b) - nonperso (a)", "rag (b) - rag (a)"}
    notes = "\n".join(between.notes(found))
    assert "in all runs: 4 held-out reviews of 4 users; averaged over the seeds 1, 2\n" in notes
    for said in ("few users (4)", "other sampling.temperature: a: 0.8; b: 0.1"):
        assert said in notes
