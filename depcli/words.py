"""Numbers of things in words, names that look the same, and text that is shown and not obeyed."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from collections.abc import Sequence
from difflib import SequenceMatcher

_BESIDE = 4

# Controls (but newline and tab), marks that turn the writing direction, halves of characters, and what is none.
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    """The text with everything escaped that a terminal or a browser would obey rather than show."""
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text.replace("\r\n", "\n"))


def count(number: int, noun: str) -> str:
    """How many of a thing whose plural takes an s."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The one of the sorted `names` that was probably meant: the most alike of those that would stand beside it; None of none."""
    at = bisect(names, name)
    beside = names[max(0, at - _BESIDE) : at + _BESIDE]
    return max(beside, key=lambda one: SequenceMatcher(None, one, name).ratio(), default=None)


def letters(name: str) -> str:
    """What a person sees of a name: the same for names in another case, or made of other characters that look the same."""
    return unicodedata.normalize("NFKC", name).casefold()
