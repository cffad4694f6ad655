"""Random sequences of adding, replacing, forgetting, compacting, crashes and full disks, beside a plain model of the store."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import lancedb
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from depcli.errors import DepError, NotFound
from depcli.records import Item, Review
from depcli.store import Store
from depcli.store.upkeep import erase
from depcli.store.upkeep.check import check
from depcli.store.upkeep.compact import compact
from depcli.store.writing.ingest import ingest
from tests.store.disk.test_failures import little_room
from tests.store.made import MadeEmbedder, contents, vector_of, worst_difference
from tests.store.writing.test_versions import model as standing

USERS, ASINS, TEXTS = "uvw", "ijk", "abc"
REVIEWS = st.builds(
    Review,
    st.sampled_from(USERS),
    st.sampled_from(ASINS),
    st.sampled_from(TEXTS),
    st.sampled_from([None, 1.0, 2.0]),
    st.sampled_from(["", "t"]),
    st.sampled_from([None, 1.0, 2.0]),
)
ITEMS = st.builds(Item, st.sampled_from(ASINS), st.sampled_from(["", "One"]), st.sampled_from(["", "first", "second"]))
BATCHES = st.lists(REVIEWS, max_size=6), st.lists(ITEMS, max_size=2)


@dataclass(frozen=True)
class Plain:
    """What a store is: the reviews it was given, in their order, and what is known of the items."""

    read: tuple[Review, ...] = ()
    items: tuple[tuple[str, Item], ...] = ()

    def plus(self, reviews: list[Review], items: list[Item]) -> Plain:
        known = dict(self.items)
        for item in items:
            before = known.get(item.asin, item)
            known[item.asin] = replace(item, title=item.title or before.title, description=item.description or before.description)
        return Plain((*self.read, *reviews), tuple(sorted(known.items())))

    def without(self, user: str | None, asin: str | None) -> Plain:
        left = tuple(review for review in self.read if review.user_id != user and review.asin != asin)
        return Plain(left, tuple(entry for entry in self.items if entry[0] != asin))

    def has(self, user: str | None, asin: str | None) -> bool:
        named = {review.user_id for review in self.read}, {review.asin for review in self.read} | dict(self.items).keys()
        return user in named[0] or asin in named[1]

    def shown(self) -> dict:
        """The reviews with their vectors, and the items, as tests.store.made.contents tells them."""
        reviews: dict[str, list] = {}
        for review in standing(list(self.read)).values():
            reviews.setdefault(review.user_id, []).append((review, vector_of(review.text).tobytes()))
        return {
            "reviews": {user: sorted(found, key=lambda entry: _order(entry[0])) for user, found in reviews.items()},
            "items": dict(self.items),
        }


def _order(review: Review) -> tuple[float, str]:
    return (float("-inf") if review.timestamp is None else review.timestamp, review.asin)


def shown(snapshot) -> dict:
    everything = contents(snapshot)
    return {"reviews": everything["reviews"], "items": everything["items"]}


class Machine(RuleBasedStateMachine):
    empty: Path  # a store to begin with

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(self.empty, self.folder / "profiles")
        self.store, self.plain, self.states = Store.open(self.folder / "profiles"), Plain(), {0: Plain()}

    @rule(batch=st.tuples(*BATCHES), chunk=st.sampled_from([2, 100]))
    def add(self, batch, chunk):
        reviews, items = batch
        ingest(self.store, [*items, *reviews], MadeEmbedder(), source="add", chunk=chunk)
        self.plain = self.plain.plus(reviews, items)

    @rule(user=st.sampled_from(USERS))
    def forget_a_user(self, user):
        self.forget(user, None)

    @rule(asin=st.sampled_from(ASINS))
    def forget_an_item(self, asin):
        self.forget(None, asin)

    def forget(self, user: str | None, asin: str | None) -> None:
        with self.store.writer() as writer:
            if not self.plain.has(user, asin):
                with pytest.raises(NotFound):
                    erase.forget(writer.tables, [user] if user else [], [asin] if asin else [])
                return
            erase.forget(writer.tables, [user] if user else [], [asin] if asin else [])
        self.plain, self.states = self.plain.without(user, asin), {}

    @rule(keep=st.sampled_from([0, 7]))
    def compact(self, keep):
        with self.store.writer() as writer:
            compact(writer.tables, keep)
        self.states = self.states if keep else {}

    @rule()
    def join_pieces(self):
        with self.store.writer() as writer:
            writer.tidy(force=True)

    @rule(user=st.sampled_from(USERS), table=st.sampled_from(["reviews", "item_sums", "items"]))
    def crash(self, user, table):
        """As a writer leaves the store that was killed before its commit row."""
        tables = lancedb.connect(str(self.store.folder))
        tables.open_table("reviews").delete(f"user_id = '{user}'")
        tables.open_table(table).delete("true")

    @rule(batches=st.lists(st.tuples(*BATCHES), min_size=2, max_size=3), room=st.sampled_from([0, 2_000, 5_000]))
    def disk_full_for_a_while(self, batches, room):
        """One writer all the time: the first batch meets a full disk, the others do not."""
        with self.store.writer() as writer:
            for number, (reviews, items) in enumerate(batches):
                batch, before = writer.batch(), writer.head.number
                batch.add(reviews)
                batch.vectors.add(list(batch.missing()), np.array([vector_of(words) for words in batch.missing().values()]))
                try:
                    with little_room(room if number == 0 else 2**40):
                        writer.commit(batch, items, source="full")
                except DepError:
                    assert number == 0 and writer.head.action in ("recover", self.store.log()[before].action)
                else:
                    self.plain = self.plain.plus(reviews, items)

    @rule()
    def open_again(self):
        self.store = Store.open(self.store.path)

    @invariant()
    def the_same(self):
        snapshot = self.store.snapshot()
        assert shown(snapshot) == self.plain.shown()
        assert worst_difference(snapshot) < 1e-12
        self.states[snapshot.commit.number] = self.plain

    def teardown(self):
        report = check(self.store)
        assert report.ok, report.findings
        for commit in self.store.log():
            if commit.number in self.states and self.store.readable(commit):
                assert shown(self.store.snapshot(commit.id)) == self.states[commit.number].shown()
        shutil.rmtree(self.folder)


def test_any_sequence_ends_as_the_plain_model(empty):
    Machine.empty = empty
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    given = dict(max_examples=8, stateful_step_count=8, deadline=None, suppress_health_check=checks)
    # the same sequences every time; and as it is found, since making a failing one shorter takes many minutes
    run_state_machine_as_test(Machine, settings=settings(derandomize=True, phases=[Phase.generate], **given))
