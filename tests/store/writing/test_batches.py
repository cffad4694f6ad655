"""Several batches that count together: all of them from one commit on, or none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from depcli.errors import DepError
from depcli.records import Item
from depcli.store import Store
from depcli.store.schema import text_hashes
from depcli.store.upkeep.check import check
from depcli.store.writing import ingest, sums
from depcli.store.writing.writer import Counts
from tests.store.disk.test_failures import little_room
from tests.store.made import IDENTITY, MadeEmbedder, contents, some_reviews, upsert, vectors_of, worst_difference

REVIEWS = some_reviews(users=30)
NEWER = [replace(review, text=review.text + ", changed", timestamp=999.0) for review in REVIEWS[::4]]


def write(writer, reviews, before=None, items=(), **options) -> tuple:
    batch = writer.batch(before)
    batch.add(reviews)
    batch.vectors.add(text_hashes(review.text for review in reviews), vectors_of(reviews))
    return batch, writer.commit(batch, items, source="test", **options)


def test_batches_count_together_once_one_of_them_does(store):
    before, number = contents(store.snapshot()), store.log()[-1].number
    with store.writer() as writer:
        first, counts = write(writer, REVIEWS[:50], items=[Item("item1", "One")], more=True)
        assert not counts and contents(store.snapshot()) == before and store.log()[-1].number == number
        second, counts = write(writer, [*NEWER[:20], *REVIEWS[:3]], more=True)
        assert not counts
        _, counts = write(writer, REVIEWS[50:])
    replaced = sum(review.asin == old.asin and review.user_id == old.user_id for review in NEWER[:20] for old in REVIEWS[:50])
    late = len(NEWER[:20]) - replaced  # came before the older version, which is outdated then
    assert counts == Counts(len(REVIEWS), replaced, 2, late + 1, 1) and 0 < late, "and so is the first of the three read again"
    assert [commit.counts["added"] for commit in store.log()[number + 1 :]] == [len(REVIEWS)]
    assert worst_difference(store.snapshot()) < 1e-12 and check(store).ok


def test_the_same_state_as_one_by_one(store, tmp_path):
    plain = Store.create(tmp_path / "plain", IDENTITY)
    batches = [REVIEWS[:70], NEWER[:30], REVIEWS[60:], NEWER]
    for reviews in batches:
        upsert(plain, reviews)
    with store.writer() as writer:
        before = None
        for reviews in batches:
            before, _ = write(writer, reviews, before, more=True)
        assert writer.finish("test").added == len(REVIEWS) and not writer.finish("test")
    assert contents(store.snapshot()) == contents(plain.snapshot())


@pytest.mark.parametrize("size", [0, 2000])
def test_an_error_undoes_all_that_did_not_count_yet(store, size):
    upsert(store, REVIEWS[:30])
    before = contents(store.snapshot())
    with store.writer() as writer:
        write(writer, [*REVIEWS[30:90], *NEWER[:5]], more=True)
        with little_room(size), pytest.raises(DepError, match="no room left"):
            write(writer, REVIEWS[90:], more=True)
        assert not writer.finish("test") and contents(store.snapshot()) == before
        write(writer, NEWER[:9], more=True)
        write(writer, REVIEWS)
    assert store.snapshot().counts()["reviews"] == len(REVIEWS) and worst_difference(store.snapshot()) < 1e-12


def test_sums_that_are_too_many_to_be_kept_make_it_count_at_once(store, monkeypatch):
    monkeypatch.setattr(sums, "_KEPT_BYTES", 0)
    with store.writer() as writer:
        assert write(writer, REVIEWS[:50], more=True)[1].added == 50
        assert not writer.finish("test")


def test_what_was_written_before_an_interruption_counts(store, monkeypatch):
    class Interrupted(MadeEmbedder):
        def encode(self, texts):
            if len(self.texts) >= 60:
                raise KeyboardInterrupt
            return super().encode(texts)

    monkeypatch.setattr(ingest, "READ_AHEAD", 16)
    monkeypatch.setattr(ingest, "BATCH_REVIEWS", 10)
    with pytest.raises(KeyboardInterrupt):
        ingest.ingest(store, REVIEWS, Interrupted(), source="test")
    kept = store.snapshot().counts()["reviews"]
    assert 60 <= kept < 60 + 16 and len(store.log()) == 2
    report = ingest.ingest(store, REVIEWS, MadeEmbedder(), source="test")
    assert report.added == report.embedded == len(REVIEWS) - kept and worst_difference(store.snapshot()) < 1e-12
