"""The whole road of an evaluation on a real store, a real (tiny, random) backbone and a real adapter."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from depcli import methods
from depcli.actions.writing import Writer
from depcli.analysts.analyst import Analyst
from depcli.analysts.cache import ProfileCache
from depcli.backbones.sequence import encode
from depcli.errors import Incompatible, NotFound
from depcli.evaluation import predictions as files
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.evaluation.report import tables
from depcli.evaluation.results import problems, read_results
from depcli.evaluation.run import request_id
from depcli.evaluation.statistics.significance import standard_error
from depcli.methods.profiler import Profiler
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.records import Review
from depcli.splits.split import choose, leave_last_out
from depcli.store.upkeep import erase
from depcli.thought import THINKING
from tests.analysts.scripted import Scripted
from tests.evaluation.whole_run import lines
from tests.evaluation.world import USERS, D, make_store, make_writers, reviews


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
        seeds[entry["id"]].add(entry["request_seed"])
    assert all(len(found) == 1 for found in seeds.values()), "methods share the seed of a request"
    assert len(set().union(*seeds.values())) == len(USERS), "requests do not"


def test_results_are_what_the_files_say(finished, snapshot):
    out, results = finished
    stored = json.loads((out / files.RESULTS).read_text())
    assert stored == results
    assert problems(stored) == [] and read_results(out) == stored
    assert results["schema"] == 5 and results["requests"] == results["targets"] == results["users"] == len(USERS)
    assert results["seeds"] == [3]
    settings = results["settings"]
    assert settings["split_digest"] == leave_last_out(snapshot).digest and settings["store_commit"] == snapshot.commit.id
    assert settings["sampling"]["seed"] == 3 and settings["backbone"]["name"] == "tiny"
    scores = lines(out, files.SCORES)
    for name, found in results["methods"].items():
        made = [entry for entry in lines(out) if entry["method"] == name]
        weighed = [entry for entry in lines(out, files.NLL) if entry["method"] == name]
        mine = [entry for entry in scores if entry["method"] == name]
        assert found["mean_generated_tokens"] == fmean(entry["generated_tokens"] for entry in made)
        assert found["stopped_by_length"] == sum(entry["finish"] == "length" for entry in made)
        assert found["nll"]["per_token"] == pytest.approx(sum(e["nats"] for e in weighed) / sum(e["tokens"] for e in weighed))
        assert found["nll"]["per_request"] == pytest.approx(fmean(entry["nats"] / entry["tokens"] for entry in mine))
        assert found["metrics"]["rouge1"]["value"] == pytest.approx(fmean(entry["rouge1"] for entry in mine))
        assert all(found["metrics"][metric]["signature"] for metric in found["metrics"])
        assert found["metrics"]["rouge1"]["se_users"] == pytest.approx(standard_error([entry["rouge1"] for entry in mine]))
        assert found["metrics"]["rouge1"]["se_seeds"] is None and found["metrics"]["length"]["se_users"] is None
        aligned = [entry["cosine"] for entry in lines(out, files.ALIGNMENT) if entry["method"] == name]
        defined = [value for value in aligned if value is not None]
        assert len(aligned) == len(USERS) and defined == [e["alignment"] for e in mine if e["alignment"] is not None]
        assert found["metrics"]["alignment"]["value"] == pytest.approx(fmean(defined))
        assert found["metrics"]["alignment"]["undefined"] == len(aligned) - len(defined)
        assert found["generation"]["requests"] == len(USERS)


def test_the_swap_test_is_what_its_lines_say(finished):
    out, results = finished
    own = {(entry["method"], entry["id"]): entry for entry in lines(out, files.NLL)}
    assert {name: list(found["swap"]) for name, found in results["methods"].items()} == {
        "nonperso": [],
        "rag": ["history"],
        "dep": ["history", "text", "vectors"],
    }
    for name in ("rag", "dep"):
        for variant, found in results["methods"][name]["swap"].items():
            swapped = [e for e in lines(out, files.SWAP) if (e["method"], e["variant"]) == (name, variant)]
            mine = [own[name, entry["id"]] for entry in swapped]
            assert len(swapped) == found["requests"] == len(USERS)
            tokens = sum(entry["tokens"] for entry in mine)
            assert tokens == sum(entry["tokens"] for entry in swapped)
            assert found["own"] == pytest.approx(sum(entry["nats"] for entry in mine) / tokens)
            assert found["stranger"] == pytest.approx(sum(entry["nats"] for entry in swapped) / tokens)
            assert found["difference"] == pytest.approx(found["own"] - found["stranger"])


def test_likelihoods_are_of_the_real_review_after_each_method_s_prompt(finished, evaluation, engine, snapshot):
    import torch

    out, _ = finished
    split = leave_last_out(snapshot)
    writer = make_writers(snapshot, engine, split)["nonperso"]
    from depcli.splits.split import pairs_of

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
    assert {d["metric"] for d in results["differences"]} >= {"nll", "rouge1", "rougeL", "alignment"}
    assert pairs == [("rag", "nonperso"), ("dep", "nonperso"), ("dep", "rag")]
    for found in results["differences"]:
        assert found["low"] <= found["difference"] <= found["high"]
        assert found["requests"] == len(USERS) or found["metric"] == "alignment"
        if found["metric"] == "nll":
            a, b = (results["methods"][found[who]]["nll"]["per_token"] for who in ("method", "against"))
            assert found["difference"] == pytest.approx(a - b)


def test_progress_counts_up_to_the_total(evaluation, tmp_path):
    events = []
    evaluation(tmp_path / "p", names=("nonperso",), limit=3, on_progress=events.append)
    for phase in ("write", "likelihood", "align"):
        assert [e["done_requests"] for e in events if e["phase"] == phase] == [0, 1, 2, 3]
    assert {e["total_requests"] for e in events if e["phase"] in ("write", "likelihood", "align")} == {3}
    seeded = []
    evaluation(tmp_path / "p", names=("nonperso",), limit=3, seeds=3, on_progress=seeded.append)
    assert [e["done_requests"] for e in seeded if e["phase"] == "write"] == [3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("phase", ["write", "likelihood", "align", "score"])
def test_it_stops_before_it_writes_more_when_somebody_is_forgotten(evaluation, engine, tmp_path, phase):
    """And goes on when something is added."""
    store, out = make_store(tmp_path / "profiles"), tmp_path / "run"
    snapshot = store.snapshot()
    split = leave_last_out(snapshot)
    shared = {
        "snapshot": snapshot,
        "split": split,
        "targets": split.test,
        "strangers_from": (),
        "methods": make_writers(snapshot, engine, split, ["nonperso"]),
    }

    def when_one_is_done(work):
        left = [0 if phase == "score" else 1]  # the scores of one method are begun, and written with those of all

        def meanwhile(event):
            if event.get("phase") == phase and event["done_requests"] in left:
                left.clear()
                with store.writer() as writer:
                    work(writer)

        return meanwhile

    def add(writer):
        writer.upsert([Review("new", "i0", "A new one.")], np.eye(1, D, dtype=np.float32), [], source="more")

    def forget(writer):
        erase.forget(writer.tables, [split.test[-1].user_id], [])

    evaluation(tmp_path / "whole", on_progress=when_one_is_done(add), **shared)
    with pytest.raises(NotFound, match="forgotten since"):
        evaluation(out, on_progress=when_one_is_done(forget), **shared)
    written = [len(lines(out, name)) for name in (files.PREDICTIONS, files.NLL, files.ALIGNMENT)]
    whole = len(split.test)
    assert (
        whole > 2
        and written
        == {"write": [1, 0, 0], "likelihood": [whole, 1, 0], "align": [whole, whole, 1], "score": [whole, whole, whole]}[phase]
    )
    assert not {files.SCORES, files.RESULTS} & {path.name for path in out.iterdir()}
    assert {files.SCORES, files.RESULTS} < {path.name for path in (tmp_path / "whole").iterdir()}


def test_all_that_a_model_is_asked_for_comes_before_the_scorer_is_loaded(evaluation, snapshot, engine, tmp_path):
    order, split, pag = [], leave_last_out(snapshot), methods.find("pag")
    place = Path(make_store(tmp_path / "profiles").path)

    def analyst(said: str) -> Analyst:
        return Analyst(Scripted(lambda *_: order.append(said) or said), said, temperature=0, top_p=1)

    profiler = Profiler(pag, snapshot, analyst("Writes dryly."), ProfileCache(place), held_out=split.held_out)
    builder = PromptBuilder(
        snapshot, pag, Template("compact"), engine.chat, engine.count, k=2, held_out=split.held_out, profiler=profiler
    )
    scorer = WeightsScorer(lambda: order.append("loaded") or engine.model, engine.tokenizer, 50)
    results = evaluation(
        tmp_path / "run", limit=1, methods={"pag": Writer(builder, engine)}, scorer=scorer, asked=analyst('{"score": 3}')
    )
    assert results["methods"]["pag"]["swap"]["history"] and results["methods"]["pag"]["profiles"]
    assert order == ["Writes dryly.", '{"score": 3}', '{"score": 3}', "Writes dryly.", "loaded"]  # of a text, of another's review


def test_a_text_that_ended_in_a_thought_is_empty_and_counted(evaluation, snapshot, engine, tmp_path):
    def answer(prompt, sampling):
        return "<think>They like films" if "Film 1" in prompt else "<think>Hm.</think>\n\nIt is <slow>."

    builder = PromptBuilder(snapshot, methods.find("nonperso"), Template("compact"), engine.chat, engine.count)
    writer = Writer(builder, Scripted(answer))
    results = evaluation(tmp_path, methods={"nonperso": writer}, scorer=None, strangers_from=())
    texts = [(line["prediction"], line["finish"]) for line in lines(tmp_path)]
    assert set(texts) == {("", THINKING), ("It is <slow>.", "stop")}
    found = results["methods"]["nonperso"]
    assert found["unfinished_thoughts"] == found["empty"] == texts.count(("", THINKING))


def test_without_a_scorer_there_is_no_likelihood(evaluation, snapshot, tmp_path):
    results = evaluation(tmp_path / "p", names=("nonperso", "rag"), limit=2, scorer=None, strangers_from=())
    assert results["methods"]["rag"]["nll"] is None
    assert all(found["metric"] != "nll" for found in results["differences"])
    assert "NLL/token" not in tables.table(results)[0] and results["methods"]["rag"]["swap"] == {}
    with pytest.raises(Incompatible, match="swap test"):
        evaluation(tmp_path / "q", names=("rag",), limit=2, scorer=None, strangers_from=leave_last_out(snapshot).test)


def test_nothing_to_evaluate_is_said(evaluation, engine, tmp_path):
    snapshot = make_store(tmp_path / "profiles", [r for r in reviews() if r.user_id == "few"]).snapshot()
    split = leave_last_out(snapshot)
    assert split.test == ()
    with pytest.raises(NotFound, match="nothing to evaluate"):
        evaluation(tmp_path / "out", snapshot=snapshot, split=split, targets=[])
    assert not (tmp_path / "out").exists()
