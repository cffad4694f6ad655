"""LaMP and LongLaMP: one row per user, an `input` to answer and a `profile` of earlier texts by the same person.

Every row is a user of its own. What was written is the review's text, what it was written about the item's description, and how
the input begins ("Generate a headline for the following article") the item's task. The entries of a profile have the item ids
USER/00001, USER/00002, ... and what the input asks for has USER/target, which comes after all of them, dated or not.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from depcli.errors import BadInput
from depcli.readers import fields
from depcli.readers.entries import BadField
from depcli.readers.files import STDIN, open_source
from depcli.records import Item, Review

TARGET = "/target"
_USERS = ("reviewerId", "name", "author")  # of LongLaMP's three tasks
_DATES = ("date", "year")
_CLASSES = ("score", "category", "tag")  # what LaMP-3 and LaMP-2 ask for
_CITATION = "For an author who has written"  # how an input of LaMP-1 begins
_INSTRUCTION = 200  # characters before the colon, at most
_REVIEW = re.compile(
    r'overall rating of "?(?P<rating>[\d.]+)"? for a product with description "(?P<description>.*)"\. '
    r'The summary of the review text is "(?P<title>.*)"\.?\s*',
    re.DOTALL,
)


@dataclass(frozen=True)
class Kind:
    """How an entry of a profile is read: the field with what was written, and those of the item. `task` is what every input of
    the kind begins with; None where it ends with its first colon, '' where it asks for a review."""

    written: str
    given: str = ""
    title: str = ""
    task: str | None = None

    def fits(self, entry: Mapping) -> bool:
        return all(name in entry for name in (self.written, self.given, self.title) if name)


_LAMP = (Kind("title", "text"), Kind("title", "abstract"), Kind("text"))
_LONGLAMP = (
    Kind("reviewText", "description", task=""),
    Kind("abstract", title="title", task="Generate an abstract for the title"),
    Kind("content", "summary", task="Generate the content for a reddit post"),
)


def detect(record: Mapping) -> tuple[str, str] | None:
    """(format, reason) when this row is enough to tell."""
    if not isinstance(record.get("input"), str) or not isinstance(record.get("profile"), (list, Mapping)):
        return None
    if named := next((name for name in _USERS if name in record), None):
        return "longlamp", f"its rows have input, profile and {named}"
    return ("lamp", "its rows have id, input and profile") if "id" in record else None


class Rows:
    """The parser of one file. `golds` are the texts that the inputs ask for, by id; None where a row brings its own, if any."""

    def __init__(self, kinds: tuple[Kind, ...], golds: Mapping[str, str] | None = None):
        self._kinds, self._golds = kinds, golds
        self._seen: dict[str, int] = {}

    def __call__(self, record: Mapping) -> Iterator[Review | Item | BadField]:
        """The items and reviews of a row, and what of it cannot be used. Raises BadField when that is all of it."""
        asked = record.get("input")
        if not isinstance(asked, str) or not asked.strip():
            raise BadField("no input")
        profile = fields.listed(record.get("profile"), "profile")
        user = self.user(record)
        kind = self._kind(asked, profile)
        task, target = _target(fields.whole(asked), kind, user + TARGET)
        newest = None
        for number, entry in enumerate(profile, 1):
            try:
                item, review = _past(entry, kind, user, f"{user}/{number:05}", task)
            except BadField as problem:
                yield BadField(f"entry {number} of the profile: {problem}", *problem.hints)
                continue
            if review.timestamp is not None:
                newest = review.timestamp if newest is None else max(newest, review.timestamp)
            yield from (item, review)
        yield target.item
        real = self._real(record)
        if isinstance(real, BadField):
            yield real
        elif real is not None:
            yield Review(user, target.item.asin, real, target.rating, target.title, newest)

    def user(self, record: Mapping) -> str:
        """The user of a row: the id of a LaMP question, else the person, with a number from their second row on."""
        named = fields.first(record, _USERS) if self._kinds is _LONGLAMP else record.get("id")
        user = fields.identifier(named, "user id" if self._kinds is _LONGLAMP else "id")
        self._seen[user] = count = self._seen.get(user, 0) + 1
        if count > 1 and self._kinds is _LAMP:
            raise BadField(f"the id {user!r} was there before")
        return user if count == 1 else f"{user}#{count}"

    def _kind(self, asked: str, profile: list) -> Kind:
        entries = [entry for entry in profile if isinstance(entry, Mapping)]
        classes = [name for name in _CLASSES for entry in entries[:1] if name in entry]
        if self._kinds is _LAMP and (classes or asked.startswith(_CITATION)):
            raise BadField("asks for a class, not for a text" + (f": its profile has a {classes[0]}" if classes else ""))
        fitting = (kind for kind in self._kinds for entry in entries if kind.fits(entry))
        found = next(fitting, None)
        if found is None and entries:
            raise BadField(f"no task that is known has profiles with {', '.join(map(str, list(entries[0])[:8]))}")
        return found or self._kinds[-1]

    def _real(self, record: Mapping) -> str | BadField | None:
        """What the person wrote; None where nothing says it."""
        try:
            if self._golds is None:
                return None if record.get("output") is None else fields.body(record["output"])
            if (key := str(record.get("id"))) not in self._golds:
                return BadField(f"the outputs have nothing for the id {key!r}")
            return fields.body(self._golds[key])
        except BadField as problem:
            return BadField(f"the output: {problem}")


def lamp(path: str | os.PathLike) -> tuple[Rows, str]:
    """The parser of a LaMP file, and where the texts are that its inputs ask for: in the rows, or in X_outputs.json beside
    X_questions.json. Raises BadInput when that file is broken."""
    name = Path(path).name
    beside = Path(path).with_name(name.replace("questions", "outputs"))
    if path == STDIN or "questions" not in name:
        return questions(), ""
    if not beside.is_file():
        return questions(), f"no {beside.name} beside it: only profiles have texts"
    return Rows(_LAMP, _golds(beside)), f"the texts it asks for are in {beside.name}"


def questions() -> Rows:
    """The parser of LaMP's questions, whatever the texts are that they ask for."""
    return Rows(_LAMP)


def longlamp() -> Rows:
    """The parser of a LongLaMP file."""
    return Rows(_LONGLAMP)


@dataclass(frozen=True)
class _Target:
    item: Item
    rating: float | None = None
    title: str = ""


def _target(asked: str, kind: Kind, asin: str) -> tuple[str, _Target]:
    """(task of the row, what its input asks for)."""
    if kind.task == "":
        found = _REVIEW.search(asked)
        if found is None:
            return "", _Target(Item(asin, description=asked))
        return "", _Target(Item(asin, description=found["description"]), _rating(found["rating"]), found["title"])
    if kind.task is None:
        instruction, colon, given = asked.partition(":")
        if not colon or len(instruction) > _INSTRUCTION:
            instruction, given = asked, ""
        return instruction.strip(), _Target(Item(asin, description=given.strip(), task=instruction.strip()))
    given = asked[len(kind.task) :] if asked.casefold().startswith(kind.task.casefold()) else asked
    return kind.task, _Target(Item(asin, description=given.strip(" :"), task=kind.task))


def _rating(digits: str) -> float | None:
    try:
        return fields.rating(digits)
    except BadField:
        return None


def _past(entry: object, kind: Kind, user: str, asin: str, task: str) -> tuple[Item, Review]:
    if not isinstance(entry, Mapping):
        raise BadField("not an object")
    title = fields.words(entry.get(kind.title), "title") if kind.title else ""
    given = fields.words(entry.get(kind.given), kind.given) if kind.given else ""
    is_review = kind.task == ""
    review = Review(
        user,
        asin,
        fields.body(entry.get(kind.written)),
        fields.rating(entry.get("overall")) if is_review else None,
        fields.words(entry.get("summary"), "summary") if is_review else "",
        fields.timestamp(str(fields.first(entry, _DATES) or "")),  # a year may be a number here
    )
    return Item(asin, title, given, task), review


def _golds(path: Path) -> dict[str, str]:
    """The outputs file {"task", "golds": [{"id", "output"}]} by id; small beside the questions."""
    source = open_source(path)
    try:
        held = json.loads("".join(source.lines()))
        return {str(gold["id"]): gold["output"] for gold in held["golds"]}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else str(error)[:80]
        raise BadInput(
            f"{path} has not the shape of LaMP's outputs: {said}", 'needed: {"task", "golds": [{"id", "output"}]}'
        ) from None
    finally:
        source.close()
