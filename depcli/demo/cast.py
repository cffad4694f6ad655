"""Who and what there is in the made-up world: people.toml, things.toml and remarks.toml, which say what their fields mean."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Person:
    """How somebody writes, and what they like."""

    user_id: str
    plan: str
    opening: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    verdict_good: tuple[str, ...]
    verdict_mixed: tuple[str, ...]
    verdict_bad: tuple[str, ...]
    aside: tuple[str, ...] = ()
    sign_off: str = ""
    headline: str = ""
    style: tuple[str, ...] = ()
    mood: float = 0.0
    likes: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thing:
    """An invented item."""

    asin: str
    kind: str
    title: str
    description: str
    quality: float
    traits: tuple[str, ...]
    aspects: tuple[str, ...]


@dataclass(frozen=True)
class Remarks:
    """What can be said: of an aspect, by the kind of the thing; of a trait, by its name."""

    good: dict[str, list[str]]
    bad: dict[str, list[str]]
    liked: dict[str, str]
    disliked: dict[str, str]


def _table(name: str) -> dict:
    return tomllib.loads(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _frozen(fields: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


PEOPLE = tuple(Person(**_frozen(person)) for person in _table("people.toml")["person"])
THINGS = tuple(Thing(**_frozen(thing)) for thing in _table("things.toml")["thing"])
REMARKS = Remarks(**_table("remarks.toml"))
