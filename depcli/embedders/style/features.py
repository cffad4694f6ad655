"""What can be counted of a way of writing: lengths, punctuation, capitals, small words. No topic, no model."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?…]+")
_LONGEST = 20_000  # characters: more of a text tells nothing new
_MARKS = (*", . ' ’ \" “ - -- – — ... … ! ? ( : ; * / [ & $ %".split(), "\n", "  ")
_ENDINGS = (".", "!", "?", '"', "”", ")", "…")
_SMALL_WORDS = tuple(
    """
    the of a and to in is it that this with for as but an on you its be by are from not all more at one i or has his
    have like than so about if who what just no there can out their up into he most was which much will some any too
    does only even your when they time been do her first little really how very because my would him she were had them
    could should here well me we us our am being did don t s ve m re d ll never always also then though yet still quite
    rather perhaps however while where why these those such between through over after before again both each own same
    other
    """.split()
)
_CHARACTERS = (str.isupper, str.isdigit, str.isspace)
COUNT = 5 + len(_MARKS) + len(_ENDINGS) + len(_CHARACTERS) + 8 + len(_SMALL_WORDS)


def features(text: str) -> np.ndarray:
    """(COUNT,) float32, finite for every text. Counts are square roots of rates per word or character: rare marks weigh no more
    than their chance allows."""
    text = text[:_LONGEST]
    words, letters = text.split(), max(1, len(text))
    n = max(1, len(words))
    sentences = max(1, len(_SENTENCE_END.findall(text)))
    tokens = Counter(_TOKEN.findall(text.lower()))
    lengths = [len(word) for word in words]
    last = text.rstrip()[-1:]
    size = [np.log(n), np.log(letters), letters / n, np.log(n / sentences), np.log(sentences)]
    ending = [float(last == mark) for mark in _ENDINGS]
    start = [float(text[:1].isupper()), float(text.islower())]
    rates = [text.count(mark) / n for mark in _MARKS]
    rates += [sum(map(kind, text)) / letters for kind in _CHARACTERS]
    rates += [
        len({word.lower() for word in words}) / n,
        sum(length > 8 for length in lengths) / n,
        sum(length < 4 for length in lengths) / n,
        sum(word[:1].isupper() for word in words) / n,
        sum(word.isupper() and len(word) > 1 for word in words) / n,
        sum("-" in word[1:-1] for word in words) / n,
    ]
    rates += [tokens[word] / n for word in _SMALL_WORDS]
    return np.concatenate([size, ending, start, np.sqrt(rates)]).astype(np.float32)
