"""Profiles on disk: whole, private, found by whose they are, and gone when somebody in them is forgotten."""

from __future__ import annotations

import json

import pytest

from depcli.analysts.cache import FOLDER, ProfileCache, forget, key_of
from depcli.records import Analysis, Difference, Dimension, Profile

PROFILE = Profile(
    "Dry.", (Difference("item1", "shorter"),), (Dimension("tone", "how warm", (Difference("item2", "colder"),)),), 2, 1, 3,
    Analysis(5, 100, 50, 1.5, {"broken JSON": 1}, 1),
)  # fmt: skip


def put(cache, key, owner, users, asins=("item1",), method="drp", profile=PROFILE):
    cache.put(key, profile, method=method, analyst="a:b", store_commit="c", owner=owner, users=users, asins=asins)


@pytest.fixture
def cache(tmp_path):
    cache = ProfileCache(tmp_path)
    put(cache, "k1", "anna", {"anna", "bert"}, ("item1", "item2"))
    put(cache, "k2", "bert", {"bert", "cleo"})
    put(cache, "k3", "cleo", {"cleo"}, ("item3",), method="pag")
    return cache


def test_what_was_put_is_found_again_and_marked_as_reused(cache):
    found = cache.get("k1")
    assert found == PROFILE and found.reused and not PROFILE.reused and cache.get("other") is None
    (entry,) = cache.of_user("anna", "drp")
    assert entry["profile"] == PROFILE and (entry["analyst"], entry["store_commit"]) == ("a:b", "c")
    assert cache.of_user("anna", "pag") == [] == cache.of_user("nobody", "drp")


def test_nobody_else_can_read_it_and_it_names_nobody(cache, tmp_path):
    for path in (tmp_path / FOLDER).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        assert not any(name in path.read_bytes() for name in (b"anna", b"bert", b"cleo"))
    assert (tmp_path / FOLDER).stat().st_mode & 0o077 == 0


def test_forgetting_takes_every_profile_in_which_somebody_is_a_peer_too(cache, tmp_path):
    assert forget(tmp_path, ["bert"]) == 2
    assert cache.get("k1") is None and cache.get("k2") is None and cache.get("k3") == PROFILE
    assert forget(tmp_path, ["bert"]) == 0 and forget(tmp_path, [], ["item3"]) == 1
    assert list((tmp_path / FOLDER).iterdir()) == [] and forget(tmp_path / "nowhere", ["x"]) == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"format": 1}', b'{"format": 99}', b"\xff"])
def test_damage_is_no_profile_and_goes_with_the_next_forgetting(cache, tmp_path, damage):
    (tmp_path / FOLDER / "k1.json").write_bytes(damage)
    (tmp_path / FOLDER / ".k2.json.left").write_bytes(damage)  # as a killed process leaves it
    assert cache.get("k1") is None and cache.of_user("anna", "drp") == []
    assert forget(tmp_path, ["nobody"]) == 2 and cache.get("k2") == PROFILE


def test_entries_that_lack_a_part_are_damaged(cache, tmp_path):
    path = tmp_path / FOLDER / "k1.json"
    whole = json.loads(path.read_bytes())
    for part in ("salt", "owner", "users", "items", "method", "profile"):
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != part}))
        assert cache.of_user("anna", "drp") == [] and cache.get("k1") is None


def test_keys_tell_apart_what_differs():
    keys = [key_of("a", ["b"]), key_of("a", "b"), key_of("a", ["c"]), key_of("a", [["b"]]), key_of("a", ["\ud800"])]
    assert len(set(keys)) == len(keys) and key_of("a", ["b"]) == keys[0]
