"""Profiles that were made, kept so that each is made once: one file per profile, found by what it was made from.

A file names nobody. It holds salted hashes of the users whose reviews went into it, peers included, and of the items, so that
forgetting finds it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from depcli.errors import DepError
from depcli.records import Analysis, Difference, Dimension, Profile
from depcli.store import Store
from depcli.store.disk.lock import write_lock
from depcli.system.atomic import write_atomically
from depcli.system.permissions import private

FOLDER = Path("cache", "profiles")  # under the profiles folder
_LOCK = Path("cache", "write.lock")
_FORMAT = 1
_NEEDED = {"method", "analyst", "store_commit", "created", "salt", "owner", "users", "items", "profile"}


class ProfileCache:
    """The profiles of one profiles folder, which may not have any yet. A damaged file counts as none."""

    def __init__(self, profiles: Path):
        self.profiles, self.folder = profiles, profiles / FOLDER

    def get(self, key: str, reviews: Collection[tuple[str, str]]) -> Profile | None:
        """The profile that was made from what `key` stands for: these reviews (user_id, asin). Raises ValueError for one into
        which others went: it may know what nobody may."""
        entry = _read(self._path(key))
        if entry is None:
            return None
        for kind, names in (("users", {user for user, _ in reviews}), ("items", {asin for _, asin in reviews})):
            if not {_hashed(entry["salt"], name) for name in names}.issuperset(entry[kind]):
                raise ValueError(f"the profile {self._path(key)} was made from other {kind} than it is kept for")
        return _profile(entry["profile"])

    def put(
        self,
        key: str,
        profile: Profile,
        *,
        method: str,
        analyst: str,
        store_commit: str,
        owner: str,
        reviews: Collection[tuple[str, str]],
    ) -> bool:
        """Keep a profile of the user `owner`, made from these reviews (user_id, asin). False, and nothing is kept, when one of
        them is not in the store any more: somebody was forgotten while the profile was being made."""
        users, asins = ({review[i] for review in reviews} for i in (0, 1))
        salt = secrets.token_hex(16)
        entry = {
            "format": _FORMAT,
            "method": method,
            "analyst": analyst,
            "store_commit": store_commit,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "salt": salt,
            "owner": _hashed(salt, owner),
            "users": sorted(_hashed(salt, user) for user in users),
            "items": sorted(_hashed(salt, asin) for asin in asins),
            "profile": asdict(profile),
        }
        with unchanging(self.profiles):
            if len(Store.open(self.profiles).snapshot().reviews(list(reviews))) < len(set(reviews)):
                return False
            with _disk_errors(self.profiles):
                write_atomically(self._path(key), json.dumps(entry, ensure_ascii=True, indent=1).encode("ascii"))
        return True

    def of_user(self, user_id: str, method: str) -> list[dict]:
        """What is kept of a user by a method, newest first: {"profile": Profile, "analyst", "store_commit", "created"}."""
        found = [
            {**{name: entry[name] for name in ("analyst", "store_commit", "created")}, "profile": _profile(entry["profile"])}
            for _, entry in self._entries()
            if entry and entry["method"] == method and entry["owner"] == _hashed(entry["salt"], user_id)
        ]
        return sorted(found, key=lambda entry: entry["created"], reverse=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _entries(self) -> Iterator[tuple[Path, dict | None]]:
        """Every file, with what it holds; None for one that is damaged or was never finished. Folders are nobody's profiles."""
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.is_symlink() or not path.is_dir():
                yield path, _read(path)


@contextmanager
def unchanging(profiles: Path) -> Iterator[None]:
    """While this is held nobody else keeps a profile or forgets anybody: who is in the store stays there, and who is gone from it
    gets into no profile."""
    with _disk_errors(profiles), private():
        (profiles / _LOCK).parent.mkdir(parents=True, exist_ok=True)
    with write_lock(profiles / _LOCK):
        yield


def forget(profiles: Path, users: Collection[str], asins: Collection[str] = ()) -> int:
    """Delete every profile into which a review by one of these users, or of one of these items, went; also what cannot be read,
    since it might be one. Returns how many files are gone. `unchanging` is to be held until these people are out of the store."""
    gone = 0
    for path, entry in ProfileCache(profiles)._entries():
        if entry is None or _mentions(entry, "users", users) or _mentions(entry, "items", asins):
            path.unlink(missing_ok=True)
            gone += 1
    return gone


@contextmanager
def _disk_errors(profiles: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "make room or give access there"
        raise DepError(f"cannot keep a profile in {profiles / FOLDER}: {error.strerror or error}", hint) from error


def key_of(*parts) -> str:
    """A name for what these JSON values say."""
    text = json.dumps([_FORMAT, *parts], ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:40]


def _mentions(entry: dict, kind: str, names: Collection[str]) -> bool:
    return not {_hashed(entry["salt"], name) for name in names}.isdisjoint(entry[kind])


def _hashed(salt: str, name: str) -> str:
    return hashlib.sha256(f"{salt}{name}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read(path: Path) -> dict | None:
    try:
        entry = json.loads(path.read_bytes())
        if entry["format"] != _FORMAT or not _NEEDED <= entry.keys():
            return None
        _profile(entry["profile"])
        return entry
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _profile(entry: dict) -> Profile:
    whole = {
        **entry,
        "differences": _differences(entry["differences"]),
        "dimensions": tuple(
            Dimension(found["name"], found["definition"], _differences(found["differences"])) for found in entry["dimensions"]
        ),
        "analysis": Analysis(**entry["analysis"]),
        "reused": True,
    }
    return Profile(**whole)


def _differences(entries: list[dict]) -> tuple[Difference, ...]:
    return tuple(Difference(**entry) for entry in entries)
