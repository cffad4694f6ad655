"""Made-up authors for pre-training: reviews by different people, all rewritten with the habits of one.

Most reviews of the corpora are the only one of their author, and nothing is learned from a history of one. An author here is
nine reviews of one kind of product, cut to a length that this author keeps, with one to three habits drawn at random. What the
first reviews of such a document show is worth a lot in the later ones, so a small model learns to look there. Real authors are
left as they are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Habit = Callable[[str], str]
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def phrase(texts: list[str], rng: random.Random) -> str:
    """Two to five words in a row of some review."""
    words = rng.choice(texts).split()
    start = rng.randrange(max(1, len(words) - 5))
    return " ".join(words[start : start + rng.randint(2, 5)])


def habit(texts: list[str], rng: random.Random) -> Habit:
    """One habit of writing; `texts` are what favourite phrases are taken from."""
    opener, closer = phrase(texts, rng), phrase(texts, rng)
    mark, gap = rng.choice(["!", "!!", "...", " -", ";", "?!"]), rng.choice(["\n", " / ", " ... ", "\n- "])
    word = rng.choice(["really", "quite", "so", "very", "rather", "somewhat", "truly", "honestly"])
    return rng.choice(
        [
            str.lower,
            str.upper,
            lambda text: re.sub(r"[^\w\s]", "", text),
            lambda text: re.sub(r"[.!?]+(?=\s|$)", mark, text),
            lambda text: text.rstrip(".!? ") + mark,
            lambda text: gap.join(SENTENCE_END.split(text)),
            lambda text: f"{opener[:1].upper()}{opener[1:]}: {text}",
            lambda text: f"{opener[:1].upper()}{opener[1:]}, {text[:1].lower()}{text[1:]}",
            lambda text: f"{text} {closer[:1].upper()}{closer[1:]}.",
            lambda text: f"{text}\n{closer}",
            lambda text: f"... {text}",
            lambda text: f'"{text}"',
            lambda text: re.sub(r"\b(is|was|are|were)\b", rf"\1 {word}", text),
            lambda text: re.sub(r",\s", " - ", text),
            lambda text: text.replace(" and ", " & "),
        ]
    )


def author(texts: list[str], rng: random.Random) -> Habit:
    """All habits of one author: length first, then one to three others."""
    sentences = rng.choice([1, 1, 2, 2, 3, 4])
    habits = [habit(texts, rng) for _ in range(rng.randint(1, 3))]

    def rewrite(text: str) -> str:
        text = " ".join(SENTENCE_END.split(text.strip())[:sentences])[:500]
        for change in habits:
            text = change(text)
        return text

    return rewrite
