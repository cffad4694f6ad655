"""What an analyst's text is worth: the thought is cut off, and what cannot be used says why."""

from __future__ import annotations

import json
import re
import unicodedata

from depcli.thought import THINK, THOUGHT

EMPTY, UNFINISHED, BROKEN, FOREIGN = "empty text", "unfinished thought", "broken JSON", "foreign script"
CUT = "cut short at its limit"
TOO_LONG, REFUSED = "question too long", "refused by the endpoint"

_ORDERS = re.compile(
    r"\b(ignore|disregard|forget|override)\b[^.!?;\n]{0,40}\b(above|previous|prior|preceding|earlier|instructions?|prompts?)\b"
    r"|\bsystem prompt\b|\byou are (now |an? )+(ai|assistant|language model|chatbot)\b|<\|\w+\|>|</?think>|\[/?INST\]",
    re.IGNORECASE,
)


class Unusable(ValueError):
    """An answer that cannot be used. `kind` is one of the constants above."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


def after_thought(text: str, *, opened: bool = False) -> str:
    """The text after the last closing think mark; all of it when nothing was thought. `opened`: the prompt began the thought.

    Raises Unusable for an unfinished thought: it is no result, whatever it says.
    """
    _, mark, rest = text.rpartition(THOUGHT)
    if THINK in rest or (opened and not mark):
        raise Unusable(UNFINISHED)
    return rest


def plain_text(text: str) -> str:
    """Text in one line. Raises Unusable when there is none."""
    line = " ".join(text.split())
    if not any(map(str.isalnum, line)):
        raise Unusable(EMPTY)
    return line


def json_object(text: str) -> dict:
    """The JSON object in a text, which may be wrapped in other words or fences. Raises Unusable."""
    if not text.strip():
        raise Unusable(EMPTY)
    try:
        found = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError) as error:
        raise Unusable(BROKEN) from error
    if not isinstance(found, dict):
        raise Unusable(BROKEN)
    return found


def check_script(answer: str, question: str) -> None:
    """Raise Unusable when most letters of an answer are of scripts that the question, reviews included, does not use: a model
    that falls into Chinese over English reviews. Another language in the same script is not noticed."""
    letters = [_script(letter) for letter in answer if letter.isalpha()]
    known = {_script(letter) for letter in set(question) if letter.isalpha()}
    if 2 * sum(script not in known for script in letters) > len(letters):
        raise Unusable(FOREIGN)


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def gives_orders(text: str) -> bool:
    """Whether a review seems to speak to a model ("ignore the above ..."). It is shown as a quotation, and counted."""
    return _ORDERS.search(text) is not None
