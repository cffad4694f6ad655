"""Whom an adapter was trained on, so that forgetting somebody can name it, without the adapter naming anybody: salted hashes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

KEY = "seen_users"  # in the adapter's configuration
_HASH_CHARACTERS = 16


def record(user_ids: Iterable[str]) -> dict:
    """What a configuration holds of the users whose reviews were targets: {"salt", "hashes"}, both hex."""
    salt = secrets.token_hex(16)
    return {"salt": salt, "hashes": sorted({_hashed(salt, user) for user in user_ids})}


def has_seen(config: dict, user_ids: Iterable[str]) -> bool:
    """Whether the adapter was trained on one of these users."""
    salt, hashes = config[KEY]["salt"], set(config[KEY]["hashes"])
    return any(_hashed(salt, user) in hashes for user in user_ids)


def _hashed(salt: str, user_id: str) -> str:
    return hashlib.sha256((salt + user_id).encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARACTERS]
