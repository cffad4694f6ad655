"""Real reviews weighed by the engine that writes, while it has the prompt in its memory."""

from __future__ import annotations

import json

import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.engines.tuning import Tuning
from depcli.errors import Incompatible
from depcli.evaluation import clock
from depcli.evaluation import predictions as files
from depcli.evaluation.measures.likelihood import EngineScorer, WeightsScorer
from depcli.evaluation.run import evaluate
from depcli.records import Sampling
from depcli.splits.split import choose, leave_last_out
from depcli.system import resumable
from tests.evaluation.world import USERS, make_writers

METHODS = ("nonperso", "rag", "dep")


@pytest.fixture(scope="module")
def llama(tiny_backbone):
    with load("llamacpp", find(str(tiny_backbone)), exact=True) as engine:
        yield engine


@pytest.fixture
def evaluation(snapshot):
    """evaluation(out, engine, scorer)"""

    def run(out, engine, scorer, **changes):
        split = leave_last_out(snapshot)
        arguments = {
            "snapshot": snapshot,
            "split": split,
            "targets": choose(split, "test"),
            "out": out,
            "sampling": Sampling(max_new_tokens=6),
            "methods": make_writers(snapshot, engine, split, METHODS),
            "scorer": scorer,
            "settings": {"engine": engine.name},
            "strangers_from": split.test,
            "seeds": 2,
        }
        return evaluate(**arguments | changes)

    return run


def lines(out, name: str) -> dict[tuple, dict]:
    found = list(resumable.read_lines(out / name))
    by_key = {(line["method"], line["id"], line.get("variant")): line for line in found}
    assert len(by_key) == len(found), "none is there twice"
    return by_key


def nats(out, name: str) -> dict[tuple, float]:
    return {key: line["nats"] for key, line in lines(out, name).items()}


def test_no_prompt_is_read_again_and_the_numbers_are_those_of_the_weights(evaluation, llama, engine, tmp_path, monkeypatch):
    weigh, reused = llama.likelihood, []

    def watched(*asked):
        found = weigh(*asked)
        reused.append(llama.reused)
        return found

    monkeypatch.setattr(llama, "likelihood", watched)
    results = evaluation(tmp_path / "llama", llama, EngineScorer(llama, 50))
    prompts = [line["prompt_tokens"] for line in resumable.read_lines(tmp_path / "llama" / files.PREDICTIONS)]
    assert reused[: 3 * len(USERS)] == prompts[::2], "each has two texts"
    evaluation(tmp_path / "weights", llama, WeightsScorer(lambda: engine.model, engine.tokenizer, 50))
    for name in (files.NLL, files.SWAP):
        assert nats(tmp_path / "llama", name) == pytest.approx(nats(tmp_path / "weights", name), rel=1e-5)
        tokens = [{key: line["tokens"] for key, line in lines(tmp_path / of, name).items()} for of in ("llama", "weights")]
        assert tokens[0] == tokens[1]
    texts = [(tmp_path / of / files.PREDICTIONS).read_bytes() for of in ("llama", "weights")]
    assert texts[0] == texts[1], "what is weighed between two texts shows in neither"
    assert results["settings"]["likelihoods"] == "llamacpp"


def test_side_by_side_they_are_computed_when_all_is_written(evaluation, llama, tiny_backbone, tmp_path):
    evaluation(tmp_path / "one", llama, EngineScorer(llama, 50))
    with load("llamacpp", find(str(tiny_backbone)), exact=True, tuning=Tuning(parallel=3)) as three:
        scorer = EngineScorer(three, 50)
        assert not scorer.at_once
        evaluation(tmp_path / "three", three, scorer)
    for name in (files.NLL, files.SWAP):
        assert nats(tmp_path / "three", name) == pytest.approx(nats(tmp_path / "one", name), rel=1e-5)


@pytest.mark.parametrize("last", [0, 1, 7, 14])
def test_interrupted_at_any_likelihood_it_goes_on_to_the_same_numbers(evaluation, llama, tmp_path, monkeypatch, last):
    evaluation(tmp_path / "whole", llama, EngineScorer(llama, 50), strangers_from=())
    weigh, done = llama.likelihood, []

    def interrupted(*asked):
        if len(done) == last:
            raise KeyboardInterrupt
        done.append(asked)
        return weigh(*asked)

    monkeypatch.setattr(llama, "likelihood", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluation(tmp_path / "cut", llama, EngineScorer(llama, 50), strangers_from=())
    monkeypatch.undo()
    assert len(lines(tmp_path / "cut", files.NLL)) == last
    assert len(lines(tmp_path / "cut", files.PREDICTIONS)) == 2 * (last + 1), "what was written before is there"
    evaluation(tmp_path / "cut", llama, EngineScorer(llama, 50), strangers_from=())
    for name in (files.PREDICTIONS, files.NLL, files.SCORES):
        read = [sorted(map(json.dumps, resumable.read_lines(tmp_path / of / name))) for of in ("whole", "cut")]
        assert read[0] == read[1]


def test_one_folder_holds_the_likelihoods_of_one_scorer(evaluation, llama, engine, tmp_path):
    evaluation(tmp_path, llama, EngineScorer(llama, 50), strangers_from=())
    before = (tmp_path / files.NLL).read_bytes()
    with pytest.raises(Incompatible, match='likelihoods: expected "llamacpp", found "transformers"'):
        evaluation(tmp_path, llama, WeightsScorer(lambda: engine.model, engine.tokenizer, 50), strangers_from=())
    assert (tmp_path / files.NLL).read_bytes() == before


def test_a_part_inside_another_is_not_counted_twice(monkeypatch):
    now = iter([0.0, 1.0, 6.0, 6.5, 7.0, 9.0, 20.0, 21.0])  # whole, inner, inner, whole, writing again
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(now))
    watched = clock.Clock()
    with watched.part("writing"):
        with watched.part("likelihood"):
            pass
        with watched.part("likelihood"):
            pass
    with watched.part("writing"):
        pass
    assert watched.seconds() == {"writing": 9.0 - 5.0 - 0.5 + 1.0, "likelihood": 5.5}
