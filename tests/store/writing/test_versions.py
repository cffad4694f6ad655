"""One review per user and item: which one stays, and that the item sums follow."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import islice

import lancedb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depcli.errors import DepError
from depcli.readers import open_reviews
from depcli.records import Item, Review
from depcli.store import Store
from depcli.store.writing.batch import Batch, Version
from tests.store.made import DATA, IDENTITY, D, contents, some_reviews, upsert, vector_of, vectors_of, worst_difference

FIRST = Review("u", "i", "first text", 4.0, "title", 100.0)


def standing(store) -> Review:
    return store.snapshot().histories(["u"])["u"][0].review


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "wins"),
    [
        (FIRST, replace(FIRST, text="later", timestamp=101.0), True),
        (FIRST, replace(FIRST, text="earlier", timestamp=99.0), False),
        (FIRST, replace(FIRST, text="same time, read later"), True),
        (FIRST, replace(FIRST, rating=5.0), True),
        (FIRST, replace(FIRST, title="other"), True),
        (FIRST, replace(FIRST, timestamp=200.0), True),
        (FIRST, replace(FIRST, timestamp=50.0), False),
        (FIRST, replace(FIRST, text="undated", timestamp=None), False),
        (replace(FIRST, timestamp=None), replace(FIRST, text="dated", timestamp=-5.0), True),
        (replace(FIRST, timestamp=None), replace(FIRST, text="undated too", timestamp=None), True),
        (replace(FIRST, rating=None), FIRST, True),
        (FIRST, FIRST, False),
        (replace(FIRST, rating=4), FIRST, False),
    ],
)
def test_which_version_stays(store, together, before, after, wins):
    peer = Review("peer", "i", "a peer", 1.0)
    batches = [[before, after, peer]] if together else [[before, peer], [after]]
    counts = [upsert(store, batch) for batch in batches]
    assert standing(store) == (after if wins else before)
    assert worst_difference(store.snapshot()) < 1e-12
    if not together:
        assert (counts[1].replaced, counts[1].unchanged + counts[1].outdated) == (wins, not wins)
    number = store.snapshot().commit.number
    upsert(store, [before, after, peer])  # the same again: nothing changes, and no commit says so
    upsert(store, [peer, after])
    assert standing(store) == (after if wins else before) and store.snapshot().commit.number == number


def test_a_replaced_version_does_not_come_back_unless_it_is_newer(store):
    versions = [replace(FIRST, text=text) for text in ("a", "b", "c")]
    upsert(store, versions[:2])
    upsert(store, versions[2:])
    upsert(store, versions)
    assert standing(store).text == "c"
    upsert(store, [replace(versions[0], timestamp=101.0)])
    assert standing(store).text == "a"


def test_the_same_text_keeps_its_vector_when_rating_or_title_change(store):
    upsert(store, [FIRST])
    with store.writer() as writer:
        writer.upsert([replace(FIRST, rating=1.0)], np.ones((1, D), np.float32), source="other vectors")
    entry = store.snapshot().histories(["u"])["u"][0]
    assert entry.review.rating == 1.0 and (entry.vector == vector_of(FIRST.text)).all()
    assert worst_difference(store.snapshot()) == 0


def test_items_are_described_anew_and_empty_fields_take_nothing_away(store):
    upsert(store, [], [Item("a", "A", "old"), Item("b")])
    assert upsert(store, [], [Item("a", "", "new"), Item("a"), Item("b")]).items == 1
    assert store.snapshot().items(["a", "b"]) == {"a": Item("a", "A", "new"), "b": Item("b")}


def test_vectors_with_nan_are_refused_and_leave_no_trace(store):
    before = contents(store.snapshot())
    with store.writer() as writer:
        with pytest.raises(DepError, match="NaN"):
            writer.upsert([FIRST], np.full((1, D), np.nan, np.float32), [Item("i", "x")], source="test")
        assert contents(store.snapshot()) == before
        writer.upsert([FIRST], vector_of(FIRST.text)[None], source="test")
    assert standing(store) == FIRST


_REVIEWS = st.builds(
    Review,
    st.sampled_from("uv"),
    st.sampled_from("ij"),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([None, 1.0, 2.0]),
    st.sampled_from(["", "t"]),
    st.sampled_from([None, 1.0, 2.0]),
)


def model(reviews: list[Review]) -> dict[tuple[str, str], Review]:
    """The rule, said another way: per timestamp the version that was read first comes first; the last of the newest stays."""
    seen: dict[tuple[str, str], list[Review]] = {}
    for review in reviews:
        versions = seen.setdefault((review.user_id, review.asin), [])
        if review not in versions:
            versions.append(review)
    newest = {key: max(-1.0 if v.timestamp is None else v.timestamp for v in versions) for key, versions in seen.items()}
    return {
        key: [v for v in versions if (-1.0 if v.timestamp is None else v.timestamp) == newest[key]][-1]
        for key, versions in seen.items()
    }


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(_REVIEWS, max_size=8), st.sampled_from(["", "tidy", "crash"])), max_size=5))
def test_any_sequence_of_batches_tidying_and_crashes_ends_as_the_plain_model(empty, tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("sequence") / "profiles"
    shutil.copytree(empty, path)
    store, read = Store.open(path), []
    for reviews, event in steps:
        upsert(store, reviews)
        read += reviews
        if event == "tidy":
            with store.writer() as writer:
                writer.tidy(force=True)
        elif event == "crash":  # as a writer leaves it that was killed before its commit row
            db = lancedb.connect(str(store.folder))
            db.open_table("reviews").delete("user_id = 'u'")
            db.open_table("item_sums").delete("true")
    expected = model(read)
    snapshot = store.snapshot()
    found = {(e.review.user_id, e.review.asin): e.review for h in snapshot.histories(["u", "v"]).values() for e in h}
    assert found == expected
    assert worst_difference(snapshot) < 1e-12


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.lists(_REVIEWS, max_size=6), max_size=4), min_size=1, max_size=4))
def test_reviews_that_were_new_when_they_came_are_compared_when_others_come(batches):
    """Batches of groups, each filled while the one before it is being written, against the plain model."""
    stored, written, before, read = {}, {}, None, []  # versions of the batches that are written, and those of `before`
    for groups in batches:
        stored.update(written)
        batch = Batch(lambda keys: {key: stored[key] for key in keys if key in stored}, D, before)
        for reviews in groups:
            batch.add(reviews)
            missing = batch.missing()
            batch.vectors.add(list(missing), np.zeros((len(missing), D), np.float32))
            read += reviews
        keys, found, texts, superseded, stored_texts = batch.changed()
        assert len(set(keys)) == len(keys) and batch.read == sum(map(len, groups))
        everything = stored | written
        assert stored_texts == {key: everything[key].text for key in keys if key in everything}
        assert {text for text in texts if text not in batch.vectors.rows} <= set(stored_texts.values())
        written |= {
            key: Version(review, text, replaced, text, stored=True)
            for key, review, text, replaced in zip(keys, found, texts, superseded, strict=True)
        }
        batch.before, before = None, batch
    standing = [version.review for version in (stored | written).values()]
    assert {(review.user_id, review.asin): review for review in standing} == model(read)


def shuffled_twice(store, reviews: list[Review], replaced: list[Review], chunks: int) -> None:
    random = np.random.default_rng(5)
    with store.writer() as writer:
        for _ in range(2):
            mixed = [*reviews, *replaced]
            random.shuffle(mixed)
            for chunk in (mixed[start::chunks] for start in range(chunks)):
                writer.upsert(chunk, vectors_of(chunk), source="chunk")
                writer.tidy()


def test_fifty_shuffled_chunks_twice_with_some_replaced(store, tmp_path):
    reviews = some_reviews(users=30, items=20)
    replaced = [replace(review, text=review.text + ", changed", timestamp=999.0) for review in reviews[::7]]
    shuffled_twice(store, reviews, replaced, chunks=50)
    assert worst_difference(store.snapshot()) < 1e-12
    plain = Store.create(tmp_path / "plain", IDENTITY)
    upsert(plain, [*reviews, *replaced])
    assert contents(store.snapshot()) == contents(plain.snapshot())


def test_real_reviews_in_shuffled_chunks(store):
    file = DATA / "rotten_tomatoes" / "reviews.jsonl.gz"
    if not file.exists():
        pytest.skip(f"no real data in {DATA} (set DEP_DATA)")
    reviews = list(islice(open_reviews(file), 2500))
    replaced = [replace(review, text="changed: " + review.text, timestamp=review.timestamp + 1) for review in reviews[::9]]
    shuffled_twice(store, reviews, replaced, chunks=8)
    assert store.snapshot().counts()["reviews"] == 2500
    assert worst_difference(store.snapshot()) < 1e-6
