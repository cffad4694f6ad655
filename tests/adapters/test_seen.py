from __future__ import annotations

import json

from depcli.adapters import seen

USERS = ["A1", "O'Brien", "💜", "", "a", "b"]


def test_an_adapter_knows_whom_it_saw_and_names_nobody():
    config = json.loads(json.dumps({"seen_users": seen.record([*USERS, *USERS])}))
    assert all(seen.has_seen(config, [user]) for user in USERS)
    assert not any(seen.has_seen(config, [user]) for user in ("A2", "a1", "A1 ", "ab"))
    assert seen.has_seen(config, ["A2", "A1"]) and not seen.has_seen(config, [])
    assert config["seen_users"]["hashes"] == sorted(config["seen_users"]["hashes"]) and len(config["seen_users"]["hashes"]) == 6
    assert all(len(hashed) == 16 and int(hashed, 16) >= 0 for hashed in config["seen_users"]["hashes"])


def test_each_record_has_a_salt_of_its_own():
    one, other = seen.record(USERS), seen.record(USERS)
    assert one["salt"] != other["salt"] and not set(one["hashes"]) & set(other["hashes"])
