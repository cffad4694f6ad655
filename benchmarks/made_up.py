"""A made-up world of any size for benchmarks: words, users, items and unit vectors, the same on every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from depcli.records import EmbedderIdentity, Review

PER_USER = 10  # reviews of each user; one of them is of the item that everybody reviewed
POPULAR = "everybody-has-it"
_WORDS, _WORDS_PER_REVIEW, _BLOCK = 20_000, 100, 1000
_VECTORS = 16_384  # different ones: enough for nothing to notice, few enough to be no burden


@dataclass(frozen=True)
class World:
    """`reviews` by a tenth as many users; a twentieth as many items, the most popular reviewed by every user, a rare one by a
    few. A review is about 100 words long, and begins with its number, from which its vector follows."""

    reviews: int
    dimension: int

    def __str__(self) -> str:
        return f"{self.reviews:,} x {self.dimension}"

    @property
    def identity(self) -> EmbedderIdentity:
        return EmbedderIdentity("made-up", "1", self.dimension)

    @property
    def users(self) -> int:
        return max(self.reviews // PER_USER, 1)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) float32: the vectors of these texts, whose numbers must follow each other. Nothing is copied."""
        first, last = (int(text.split(" ", 1)[0]) for text in (texts[0], texts[-1]))
        if last - first != len(texts) - 1:
            raise ValueError(f"{len(texts)} texts from number {first} to {last}")
        start = first % _VECTORS
        return self._vectors[start : start + len(texts)]

    def entries(self) -> Iterator[Review]:
        """Every review, as if they had come in the course of time: the users by turns."""
        for start in range(0, self.reviews, _BLOCK):
            random = np.random.default_rng(start)
            words = self._vocabulary[random.choice(_WORDS, (_BLOCK, _WORDS_PER_REVIEW), p=self._frequencies)]
            skewed, stars = random.random(_BLOCK) ** 3, random.integers(1, 6, _BLOCK)
            for i in range(min(_BLOCK, self.reviews - start)):
                yield self.review(start + i, " ".join(words[i]), float(skewed[i]), float(stars[i]))

    def review(self, number: int, words: str = "", popularity: float = 0.0, stars: float = 3.0) -> Review:
        """`popularity` from 0 (the best known items) to 1. No user reviews an item twice."""
        turn, user = divmod(number, self.users)
        turn = (turn + user) % PER_USER
        items = max(self.reviews // 20 // PER_USER, 1)
        asin = f"B{int(popularity * items) * PER_USER + turn:09}" if turn else POPULAR
        title = " ".join(words.split(" ", 5)[:4])
        return Review(f"U{user:09}", asin, f"{number} {words}", stars, title, 1.6e9 + 60.0 * number)

    @cached_property
    def _vectors(self) -> np.ndarray:
        vectors = np.random.default_rng(0).normal(size=(_VECTORS, self.dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.concatenate([vectors, vectors])  # a row of texts may go round

    @cached_property
    def _vocabulary(self) -> np.ndarray:
        """Made-up words of two to nine letters, (20,000,) objects."""
        random = np.random.default_rng(1)
        letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
        return np.array(["".join(random.choice(letters, random.integers(2, 10))) for _ in range(_WORDS)], dtype=object)

    @cached_property
    def _frequencies(self) -> np.ndarray:
        """Zipf's law, as in any language."""
        weights = 1 / np.arange(1, _WORDS + 1)
        return weights / weights.sum()
