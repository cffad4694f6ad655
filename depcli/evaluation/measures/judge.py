"""An LLM as a judge: how likely did the person who wrote the real review write this text too, from 0 to 10?

Each text is judged alone, beside the real review and the item's title (judge.jinja), at temperature 0: nothing depends
on an order of methods, and the judge learns neither the method nor anything about the user. A verdict that cannot be read is
asked for once more, then counted as missing; so is one that is refused.

What verdicts are worth is seen beside those on what other people really wrote about the same items (`of_others`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from depcli.analysts.analyst import Analyst, Question, Tally
from depcli.analysts.answers import BROKEN, Unusable, json_object
from depcli.evaluation.measures.metrics import Score, is_empty
from depcli.evaluation.predictions import digest
from depcli.methods.asking import PROMPTS, question
from depcli.records import Request, Review
from depcli.words import count

OTHERS = "others' reviews"  # in the place of a method
LOWEST, HIGHEST = 0, 10
_ITEMS, _REVIEWERS = 16, 16  # items that are looked up together, and people who may stand for the others of a popular one
_PROMPT = Path(__file__).with_name("judge.jinja")
_REASON = 200  # characters: room for a few words, and an end to them
_TOKENS = 240
_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": _REASON},
            "score": {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST},
        },
        "required": ["reason", "score"],
        "additionalProperties": False,
    }
)


def judgements(analyst: Analyst, lines: Iterable[dict], requests: Mapping[tuple[str, str], Request]) -> Iterator[dict]:
    """{"id", "method", "text" (the digest of `found_by`), "judge", "score", "failures"} of each line, as in predictions.jsonl,
    as verdicts come. `requests` are by (user_id, asin); `score` is None where no verdict could be read, and 0 for a text without
    content, which nobody is asked about."""
    by, asked = identity(analyst), []
    for line in lines:
        if is_empty(line["prediction"]):
            yield _judged(line, by, LOWEST, Tally())
        else:
            asked.append(line)
    questions = (_question(analyst, line, requests[line["user_id"], line["asin"]]) for line in asked)
    for place, score, tally in analyst.answers(questions):
        yield _judged(asked[place], by, score, tally)


def of_others(snapshot, real: Iterable[tuple[Request, str]]) -> dict[tuple[str, str], str]:
    """By (user_id, asin) of requests, which come with their `real` reviews, what somebody else wrote about the same item, always
    the same one: of at most 16 that have something to say, and not the same, one of the nearest rating, as a method is told the
    rating too. Absent where there is none."""
    of_item: dict[str, list[tuple[Request, str]]] = {}
    for request, text in real:
        of_item.setdefault(request.item.asin, []).append((request, text))
    asins, found = sorted(of_item), {}
    for start in range(0, len(asins), _ITEMS):
        for asin, stored in snapshot.reviewers(asins[start : start + _ITEMS], _REVIEWERS).items():
            said = [one.review for one in stored if not is_empty(one.review.text)]
            for own, text in of_item[asin]:
                others = [one for one in said if one.user_id != own.user_id and one.text.strip() != text.strip()]
                if others:
                    found[own.user_id, asin] = min(others, key=partial(_distance, own)).text
    return found


def _distance(own: Request, other: Review) -> tuple[float, str]:
    """By rating, those without one last; then by chance."""
    unrated = own.rating is None or other.rating is None
    return math.inf if unrated else abs(own.rating - other.rating), digest(f"{own.user_id}\0{other.user_id}")


def found_by(line: dict) -> str:
    """The text by whose digest a verdict is found. Of what others wrote it is the real review: nothing of them, who may be
    forgotten, stays in the file."""
    return line["reference"] if line["method"] == OTHERS else line["prediction"]


def _judged(line: dict, by: str, score: float | None, tally: Tally) -> dict:
    return {
        "id": line["id"],
        "method": line["method"],
        "text": digest(found_by(line)),
        "judge": by,
        "score": score,
        "failures": dict(sorted(tally.failures.items())),
    }


def _question(analyst: Analyst, line: dict, request: Request) -> Question:
    return question(
        analyst,
        _PROMPT.stem,
        folder=_PROMPT.parent,
        read=_score,
        tokens=_TOKENS,
        schema=_SCHEMA,
        any_script=True,  # the reason is for the judge itself
        item=request.item.title or request.item.description or request.item.asin,
        rating=request.rating,
        real=line["reference"],
        text=line["prediction"],
    )


def identity(analyst: Analyst) -> str:
    """Changes with the model, its settings, the words of the question and what may be answered."""
    words = [path.read_text("utf-8") for path in (_PROMPT, PROMPTS / "quoting.jinja")]
    said = json.dumps([*analyst.identity, *words, _SCHEMA, _TOKENS])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def signature(analyst: Analyst) -> str:
    """What the values depend on, as people read it."""
    seen = "sees item, rating, real review and text"
    return f"{LOWEST}-{HIGHEST}|{analyst.name}|temperature {analyst.temperature:g}|{seen}|{identity(analyst)}"


def score(verdicts: Iterable[float | None], said: str) -> Score:
    """The mean verdict of one method and seed; `said` is the signature."""
    each = tuple(verdicts)
    read = [value for value in each if value is not None]
    if not read:
        return Score(None, said, each, note="the judge gave no verdict that could be read")
    return Score(sum(read) / len(read), said, each)


def note(found: Mapping[str, Iterable[dict]]) -> list[str]:
    """What is to be known of the verdicts, by method."""
    said = []
    for method, lines in found.items():
        lines = list(lines)
        if missing := [line for line in lines if line["score"] is None]:
            kinds: Counter[str] = Counter()
            for line in missing:
                kinds.update(line["failures"])
            why = ", ".join(f"{kind} {attempts:,}" for kind, attempts in kinds.items())
            unread = f"{len(missing):,} of {count(len(lines), 'verdict')} on {method}"
            said.append(f"judge: {unread} could not be used (attempts: {why}): left out")
    return said


def _score(text: str) -> float:
    found = json_object(text).get("score")
    if isinstance(found, bool) or not isinstance(found, int | float) or not LOWEST <= found <= HIGHEST:
        raise Unusable(BROKEN)
    return float(found)
