"""From entries to commits: what is embedded, counted, reported, and kept when something breaks off."""

from __future__ import annotations

import gzip
import json

import lancedb
import numpy as np
import pytest

from depcli.errors import BadInput, DepError, Incompatible
from depcli.readers import BadLine, open_reviews
from depcli.records import EmbedderIdentity, Item, Review
from depcli.store import Store
from depcli.store.writing.ingest import ingest
from tests.store.made import D, MadeEmbedder, contents, some_reviews, worst_difference


def run(store, entries, **options):
    embedder = MadeEmbedder()
    return ingest(store, entries, embedder, source="test", **options), embedder


def test_report_progress_and_commits(store):
    reviews, events = some_reviews(), []
    bad = [BadLine(n, "no text", "{}") for n in range(8)]
    items = [Item("item1", "One"), Item("item2", "Two")]
    report, embedder = run(store, [*bad, *reviews, *items, *reviews[:5]], chunk=20, on_progress=events.append)
    assert (report.reviews, report.added, report.replaced, report.unchanged) == (len(reviews) + 5, len(reviews), 0, 5)
    assert (report.items, report.embedded, report.bad_lines, report.first_bad) == (2, len(reviews), 8, tuple(bad[:5]))
    assert report.commit == store.snapshot().commit.id
    assert sorted(embedder.texts) == sorted({review.text for review in reviews})
    assert max(commit.counts.get("added", 0) for commit in store.log()) == 20
    assert [event["reviews_done"] for event in events][:3] == [20, 40, 60] and events[-1]["bad_lines"] == 8
    assert {type(value) for event in events for value in event.values()} <= {int, float}


def test_the_same_again_embeds_nothing_and_commits_nothing(store):
    older = Review("user1", "item0", "an older version", timestamp=1.0)
    as_old = Review("user1", "item0", "as old, but read before", timestamp=100.0)
    entries = [as_old, *some_reviews(), older, Item("item1", "One")]
    first, _ = run(store, entries, chunk=20)
    assert first.added == len(some_reviews())
    for chunk in (20, 7, 1000):
        again, embedder = run(store, entries, chunk=chunk)
        assert (again.added, again.replaced, again.items, again.embedded) == (0, 0, 0, 0)
        assert (again.unchanged, again.outdated) == (again.reviews - 2, 2) and again.first_outdated == ("user1", "item0")
        assert not embedder.texts and again.commit == first.commit


def test_a_text_that_another_user_wrote_too_is_embedded_once(store):
    first, _ = run(store, [Review("a", "i", "same words"), Review("b", "i", "same words")])
    second, _ = run(store, [Review("c", "i", "same words"), Review("c", "j", "other words")])
    assert (first.added, first.embedded, second.added, second.embedded) == (2, 1, 2, 1)
    histories = store.snapshot().histories(["a", "b", "c"])
    assert len({history[0].vector.tobytes() for history in histories.values()}) == 1 and len(histories) == 3


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_text_in_the_batch_that_is_being_written_is_not_embedded_again(store, chunk):
    reviews = [Review(f"u{n}", f"i{n % 3}", f"words {n // 4}") for n in range(12)]
    report, embedder = run(store, reviews, chunk=chunk)
    assert sorted(embedder.texts) == ["words 0", "words 1", "words 2"] and report.embedded == 3
    assert worst_difference(store.snapshot()) < 1e-12


def test_versions_that_follow_each_other_into_batches_of_their_own(store):
    versions = [Review("u", "i", f"version {n}", timestamp=float(n)) for n in range(6)]
    report, _ = run(store, [*versions, *versions[::-1]], chunk=1)
    assert (report.added, report.replaced, report.unchanged, report.outdated) == (1, 5, 1, 5)
    assert [entry.review for entry in store.snapshot().histories(["u"])["u"]] == versions[-1:]


def test_an_error_while_a_batch_is_written_ends_the_run_and_the_batches_before_it_stay(store):
    class BrokenLate(MadeEmbedder):
        def encode(self, texts):
            vectors = super().encode(texts)
            return vectors * np.float32("nan") if len(self.texts) > 40 else vectors

    with pytest.raises(DepError, match="NaN"):
        ingest(store, some_reviews(), BrokenLate(), source="test", chunk=20)
    assert store.snapshot().counts()["reviews"] == 40
    run(store, some_reviews())
    assert worst_difference(store.snapshot()) < 1e-12


def test_large_pieces_are_indexed_and_left_where_they_are(store):
    random = np.random.default_rng(0)
    for part in range(2):
        reviews = [Review(f"u{n % 900}", f"i{part}.{n // 900}", f"{part} {n}") for n in range(9000)]
        with store.writer() as writer:
            writer.upsert(reviews, random.normal(size=(9000, D)).astype(np.float32), source="test")
            writer.tidy(force=True)
    table = lancedb.connect(str(store.folder)).open_table("reviews")
    assert table.stats()["fragment_stats"]["num_fragments"] == 2
    assert all(index.num_unindexed_rows == 0 for index in table.list_indices())
    assert len(store.snapshot().histories(["u7"])["u7"]) == 20


def test_how_it_is_cut_into_chunks_does_not_matter(store, tmp_path):
    same_time = [Review("user1", "item0", text, timestamp=100.0) for text in "abab"]
    entries = [*some_reviews()[:12], *same_time, *some_reviews()[:12]]
    run(store, entries, chunk=1000)
    for chunk in (1, 5, 14):
        other = Store.create(tmp_path / str(chunk), store.embedder)
        run(other, entries, chunk=chunk)
        assert contents(other.snapshot()) == contents(store.snapshot())


def test_strict_stops_at_the_first_bad_line_and_keeps_what_came_before(store):
    entries = [*some_reviews()[:10], BadLine(11, "the rating 'five' is not a number", "..."), *some_reviews()[10:]]
    with pytest.raises(BadInput, match="test, line 11: the rating 'five'"):
        run(store, entries, strict=True)
    assert store.snapshot().counts()["reviews"] == 10


def test_a_truncated_file_keeps_what_could_be_read_and_goes_on_with_the_whole_one(store, tmp_path):
    lines = [json.dumps({"user_id": f"u{n % 7}", "asin": f"i{n}", "text": f"text {n}"}) for n in range(3000)]
    whole = gzip.compress("\n".join(lines).encode())
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="broken gzip"):
        run(store, open_reviews(tmp_path / "cut.gz"))
    kept = store.snapshot().counts()["reviews"]
    (tmp_path / "cut.gz").write_bytes(whole)
    report, embedder = run(store, open_reviews(tmp_path / "cut.gz"))
    assert 0 < kept < 3000 and (report.added, len(embedder.texts)) == (3000 - kept, 3000 - kept)
    assert store.log()[-1].action == "compact"


def test_nothing_and_only_bad_lines(store):
    assert run(store, [])[0].reviews == 0
    report, _ = run(store, [BadLine(1, "no text", "")])
    assert (report.bad_lines, report.commit) == (1, store.log()[0].id)


def test_another_embedder_is_refused_before_anything_is_read(store):
    embedder = MadeEmbedder()
    embedder.identity = EmbedderIdentity("other", "1", 8)
    with pytest.raises(Incompatible, match="was made with .*made"):
        ingest(store, iter([]), embedder, source="test")


def test_ctrl_c_while_embedding_keeps_the_commits_before_it(store):
    class Interrupted(MadeEmbedder):
        def encode(self, texts):
            if len(self.texts) >= 40:
                raise KeyboardInterrupt
            return super().encode(texts)

    with pytest.raises(KeyboardInterrupt):
        ingest(store, some_reviews(), Interrupted(), source="test", chunk=20)
    assert store.snapshot().counts()["reviews"] == 40
    report, embedder = run(store, some_reviews())
    assert len(embedder.texts) == report.added == len(some_reviews()) - 40


def test_a_file_name_that_is_not_utf_8_is_no_obstacle(store):
    ingest(store, some_reviews(), MadeEmbedder(), source="caf\udce9.jsonl")
    assert store.log()[-1].source == "caf\ufffd.jsonl" and store.snapshot().counts()["reviews"] == len(some_reviews())
