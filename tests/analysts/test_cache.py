"""Profiles on disk: whole, private, found by whose they are, and gone when somebody in them is forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from depcli.actions.forgetting import forget as forget_all
from depcli.actions.forgetting import plan
from depcli.analysts.cache import FOLDER, ProfileCache, forget, key_of
from depcli.records import Analysis, Difference, Dimension, Profile, Review
from tests.personal.conftest import made_store

PROFILE = Profile(
    "Dry.",
    (Difference("item1", "shorter"),),
    (Dimension("tone", "how warm", (Difference("item2", "colder"),)),),
    2,
    1,
    3,
    Analysis(5, 100, 50, 1.5, {"broken JSON": 1}, 1),
)
EVERYTHING = {(user, f"item{i}") for user in ("anna", "bert", "cleo") for i in (1, 2, 3)}


def put(cache, key, owner, users, asins=("item1",), method="drp", profile=PROFILE) -> bool:
    reviews = {(user, asin) for user in users for asin in asins}
    return cache.put(key, profile, method=method, analyst="a:b", store_commit="c", owner=owner, reviews=reviews)


@pytest.fixture
def store(tmp_path):
    users = ("anna", "bert", "cleo")
    return made_store(tmp_path, [Review(user, f"item{i}", f"{user} on {i}") for user in users for i in (1, 2, 3)])


@pytest.fixture
def cache(tmp_path, store):
    cache = ProfileCache(tmp_path)
    put(cache, "k1", "anna", {"anna", "bert"}, ("item1", "item2"))
    put(cache, "k2", "bert", {"bert", "cleo"})
    put(cache, "k3", "cleo", {"cleo"}, ("item3",), method="pag")
    return cache


def test_what_was_put_is_found_again_and_marked_as_reused(cache):
    found = cache.get("k1", EVERYTHING)
    assert found == PROFILE and found.reused and not PROFILE.reused and cache.get("other", EVERYTHING) is None
    (entry,) = cache.of_user("anna", "drp")
    assert entry["profile"] == PROFILE and (entry["analyst"], entry["store_commit"]) == ("a:b", "c")
    assert cache.of_user("anna", "pag") == [] == cache.of_user("nobody", "drp")


@pytest.mark.parametrize(("user", "asin", "what"), [("cleo", "item1", "users"), ("bert", "item3", "items")])
def test_a_profile_into_which_other_reviews_went_is_refused(cache, user, asin, what):
    known = {("anna", "item1"), ("bert", "item1")}
    put(cache, "clean", "anna", {"anna", "bert"})
    assert cache.get("clean", known) == PROFILE
    put(cache, "leak", "anna", {"anna", user}, ("item1", asin))
    with pytest.raises(ValueError, match=f"was made from other {what}"):
        cache.get("leak", known)


def test_nobody_else_can_read_it_and_it_names_nobody(cache, tmp_path):
    for path in (tmp_path / FOLDER).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        assert not any(name in path.read_bytes() for name in (b"anna", b"bert", b"cleo"))
    assert (tmp_path / FOLDER).stat().st_mode & 0o077 == 0


def test_forgetting_takes_every_profile_in_which_somebody_is_a_peer_too(cache, tmp_path):
    assert forget(tmp_path, ["bert"]) == 2
    assert [cache.get(key, EVERYTHING) for key in ("k1", "k2", "k3")] == [None, None, PROFILE]
    assert forget(tmp_path, ["bert"]) == 0 and forget(tmp_path, [], ["item3"]) == 1
    assert list((tmp_path / FOLDER).iterdir()) == [] and forget(tmp_path / "nowhere", ["x"]) == 0


@pytest.mark.parametrize("gone", [{"users": ["bert"], "items": []}, {"users": [], "items": ["item2"]}])
def test_what_was_made_of_somebody_who_was_forgotten_meanwhile_is_not_kept(cache, tmp_path, gone):
    forget_all(tmp_path, plan(tmp_path, **gone))
    assert not put(cache, "late", "anna", {"anna", "bert"}, ("item1", "item2")) and cache.get("late", EVERYTHING) is None
    assert put(cache, "fine", "anna", {"anna", "cleo"}, ("item1", "item3")) and cache.get("fine", EVERYTHING) == PROFILE


_HOLD = """
import sys
from pathlib import Path
from depcli.analysts import cache
from depcli.store import Store
from depcli.store.upkeep import erase
with Store.open(sys.argv[1]).writer() as writer, cache.unchanging(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
    cache.forget(Path(sys.argv[1]), ["bert"])
    erase.forget(writer.tables, ["bert"], [])
"""


def test_a_profile_is_not_kept_while_somebody_in_it_is_being_forgotten(cache, tmp_path):
    """A `forget` that has the lock but has erased nothing yet: keeping waits for its end, and finds out."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forgetting:
        assert forgetting.stdout.readline() == "held\n"
        kept = []
        keeping = threading.Thread(target=lambda: kept.append(put(cache, "late", "anna", {"anna", "bert"})))
        keeping.start()
        assert cache.get("k3", EVERYTHING) == PROFILE and not kept  # reading waits for nobody
        forgetting.stdin.write("go\n")
        forgetting.stdin.close()
        assert forgetting.wait() == 0
        keeping.join()
    assert kept == [False] and sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == ["k3.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"format": 1}', b'{"format": 99}', b"\xff"])
def test_damage_is_no_profile_and_goes_with_the_next_forgetting(cache, tmp_path, damage):
    (tmp_path / FOLDER / "k1.json").write_bytes(damage)
    (tmp_path / FOLDER / ".k2.json.left").write_bytes(damage)  # as a killed process leaves it
    (tmp_path / FOLDER / "folder").mkdir()
    assert cache.get("k1", EVERYTHING) is None and cache.of_user("anna", "drp") == []
    assert forget(tmp_path, ["nobody"]) == 2 and cache.get("k2", EVERYTHING) == PROFILE


def test_entries_that_lack_a_part_are_damaged(cache, tmp_path):
    path = tmp_path / FOLDER / "k1.json"
    whole = json.loads(path.read_bytes())
    for part in ("salt", "owner", "users", "items", "method", "profile"):
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != part}))
        assert cache.of_user("anna", "drp") == [] and cache.get("k1", EVERYTHING) is None


def test_keys_tell_apart_what_differs():
    keys = [key_of("a", ["b"]), key_of("a", "b"), key_of("a", ["c"]), key_of("a", [["b"]]), key_of("a", ["\ud800"])]
    assert len(set(keys)) == len(keys) and key_of("a", ["b"]) == keys[0]
