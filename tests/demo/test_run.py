"""`dep demo` with a tiny random backbone in place of the bundled one, and vectors that cost nothing."""

from __future__ import annotations

import numpy as np
import pytest

from depcli.demo import run as demo
from depcli.demo.world import world
from depcli.embedders import minilm
from depcli.store import Store
from depcli.training.options import TrainOptions

pytestmark = pytest.mark.skipif(not minilm.installed(), reason="the minilm extra is not installed")


@pytest.fixture
def profiles(tmp_path):
    """A store that has the world already, under random vectors: only their identity is minilm's."""
    store, (reviews, items) = Store.create(tmp_path / "demo", minilm.MiniLM().identity), world()
    vectors = np.random.default_rng(0).normal(size=(len(reviews), 384)).astype(np.float32)
    with store.writer() as writer:
        writer.upsert(reviews, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), items, source="test")
    return store.path


@pytest.fixture
def backbone(compact_backbone) -> str:
    return str(compact_backbone)


def test_the_demo_goes_the_whole_road(profiles, backbone):
    options = TrainOptions(epochs=1, targets_per_user=1, history=1, max_target_tokens=30, validation_limit=4)
    events: list[dict] = []
    report = demo.run(profiles, backbone=backbone, offline=True, options=options, on_event=events.append)
    assert (report.ingested.unchanged, report.ingested.embedded) == (420, 0)
    assert set(report.written) == set(report.losses) == {"nonperso", "rag", "dep"}
    assert all(np.isfinite(loss) for loss in report.losses.values())
    for name, interval in report.behind_dep.items():
        assert interval.requests == 30 and interval.low <= interval.difference <= interval.high
        assert interval.difference == pytest.approx(report.losses[name] - report.losses["dep"], abs=1e-6)
    last = max((review for review in world()[0] if review.user_id == report.request.user_id), key=lambda review: review.timestamp)
    assert (report.real, report.request.item.asin) == (last.text, last.asin)
    assert report.trained.train_reviews == 30
    assert [event["part"][0] for event in events if "part" in event] == ["1", "2", "3", "4"]
