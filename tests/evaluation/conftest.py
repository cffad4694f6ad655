from __future__ import annotations

from pathlib import Path

import pytest

from depcli.backbones import find
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.evaluation.run import evaluate
from depcli.splits.split import choose, leave_last_out
from tests.evaluation.whole_run import SAMPLING, Hashed
from tests.evaluation.world import make_store, make_writers


@pytest.fixture(scope="package")
def snapshot(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("profiles")).snapshot()


@pytest.fixture(scope="package")
def engine(tiny_backbone):
    from depcli.engines import load

    with load("transformers", find(str(tiny_backbone)), offline=True, device="cpu") as engine:
        yield engine


@pytest.fixture(scope="package")
def evaluation(snapshot, engine):
    """evaluate(out, **changes) with everything but the folder given."""
    split = leave_last_out(snapshot)
    writers = make_writers(snapshot, engine, split)

    def run(out: Path, *, names=("nonperso", "rag", "dep"), limit=None, **changes):
        arguments = {
            "snapshot": snapshot,
            "split": split,
            "targets": choose(split, "test", limit),
            "sampling": SAMPLING,
            "out": out,
            "methods": {name: writers[name] for name in names},
            "scorer": WeightsScorer(lambda: engine.model, engine.tokenizer, 50),
            "settings": {"backbone": {"name": "tiny"}, "adapters": {}, "engine": engine.name},
            "embedder": Hashed(),
            "strangers_from": split.test,
        }
        return evaluate(**arguments | changes)

    return run


@pytest.fixture(scope="package")
def finished(evaluation, tmp_path_factory):
    """(folder, results) of one whole run. Do not write into the folder."""
    out = tmp_path_factory.mktemp("eval") / "run"
    return out, evaluation(out)
