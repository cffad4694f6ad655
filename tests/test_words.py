"""Names that were probably meant."""

from __future__ import annotations

from depcli.words import nearest


def test_who_was_probably_meant_stands_beside_in_the_alphabet():
    users = ["anna", "berta", "carla.1", "zoe"]
    meant = {"annz": "anna", "bertha": "berta", "berrta": "berta", "carla.l": "carla.1", "zzz": "zoe"}
    assert {asked: nearest(asked, users) for asked in meant} == meant
    assert nearest("rt_0d30cax", ["rt_0d30cab", "rt_0d62b50"]) == "rt_0d30cab"  # the one before it, not the one after it
    assert nearest("anybody", []) is None
