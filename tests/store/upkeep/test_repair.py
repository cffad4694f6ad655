"""Damage of every kind is planted in a store and found; mended, all is as it was, as far as the rest still tells it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depcli.errors import DepError
from depcli.store.upkeep import erase
from depcli.store.upkeep.check import check
from depcli.store.upkeep.repair import repair
from tests.store.damage import DAMAGES, commit_as_it_is, found_in, table_of
from tests.store.made import D, MadeEmbedder, contents, vector_of, worst_difference

LOSING = {"a review is gone", "another text", "an item twice"}  # nothing tells what there was
EMBEDDING = {"a text hash is wrong", "another text", "a vector too long", "a vector of zeros", "an infinite vector"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_mended_by_one_commit(filled, damage):
    before, number = contents(filled.snapshot()), filled.log()[-1].number
    plant, expected = DAMAGES[damage]
    plant(filled)
    commit_as_it_is(filled)
    embedder = MadeEmbedder()
    assert repair(filled, check(filled).findings, lambda: embedder) == expected
    assert not check(filled).findings
    head = filled.log()[-1]
    assert (head.number, head.action, head.counts) == (number + 2, "repair", expected)
    assert worst_difference(filled.snapshot()) < 1e-12
    assert (contents(filled.snapshot()) == before) == (damage not in LOSING)
    assert len(embedder.texts) == (damage in EMBEDDING)


def test_what_cannot_be_known_follows_what_is_there(filled):
    DAMAGES["another text"][0](filled)
    DAMAGES["an item twice"][0](filled)
    commit_as_it_is(filled)
    repair(filled, check(filled).findings, MadeEmbedder)
    snapshot = filled.snapshot()
    (changed,) = [entry for entry in snapshot.histories(["user1"])["user1"] if entry.review.asin == "item1"]
    assert changed.review.text == "user 1 on item 1 agaim" and (changed.vector == vector_of(changed.review.text)).all()
    assert snapshot.items(["item1"])["item1"].title == "Uno"


def test_everything_at_once_in_an_index_that_is_noise(filled):
    before = contents(filled.snapshot())
    for damage in ("a vector of zeros", "a review twice", "a sum is off", "two sums of an item"):
        DAMAGES[damage][0](filled)
    commit_as_it_is(filled)
    for file in (filled.folder / "reviews.lance" / "_indices").rglob("*.lance"):
        file.write_bytes(b"noise")
    assert "indexes" in found_in(check(filled))
    repair(filled, check(filled).findings, MadeEmbedder)
    assert not check(filled).findings and contents(filled.snapshot()) == before


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"")])
def test_item_sums_whose_file_is_lost_are_added_up_again(filled, damage):
    before = contents(filled.snapshot())
    for file in (filled.folder / "item_sums.lance" / "data").iterdir():
        damage(file)
    with pytest.raises(DepError, match="damaged") as caught:
        contents(filled.snapshot())
    assert "dep check" in caught.value.hint and "/src/" not in caught.value.message
    assert repair(filled, check(filled).findings, MadeEmbedder) == {"item_sums": 1}
    assert not check(filled).findings and contents(filled.snapshot()) == before


def test_a_sound_store_is_left_alone(filled):
    number = filled.log()[-1].number
    assert repair(filled, check(filled).findings, MadeEmbedder) == {} and filled.log()[-1].number == number


def test_what_a_killed_writer_left_is_undone(filled):
    table_of(filled, "item_sums").delete("true")
    (filled.folder / erase._MARKER).write_text("99")
    assert found_in(check(filled)) == {"erasing": 1}
    assert repair(filled, check(filled).findings, MadeEmbedder) == {}
    assert filled.log()[-1].action == "recover" and not check(filled).findings


def test_an_embedder_that_fails_changes_nothing(filled):
    class Broken(MadeEmbedder):
        def encode(self, texts):
            return np.full((len(texts), D), np.nan, np.float32)

    DAMAGES["a vector of zeros"][0](filled)
    commit_as_it_is(filled)
    before = contents(filled.snapshot())
    with pytest.raises(DepError, match="no use"):
        repair(filled, check(filled).findings, Broken)
    assert contents(filled.snapshot()) == before
