"""Training documents for `mini`: real review histories in the layout of the `compact` template.

A document is one Prompt of `depcli` (an item, up to eight past reviews of the same user, perhaps rating and title) and the
review that followed. Loss falls on review text only, past reviews included: each is written after the earlier ones.
Held out: everything written by half of the users of the benchmark files, and the last five reviews of the other half.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from depcli.chat import Chat
from depcli.personal.template import Template
from depcli.recipes import habits
from depcli.records import Item, PastReview, Request, Review, Text

BENCHMARKS = (
    "rotten_tomatoes/reviews",
    "rotten_tomatoes/reviews_u18",
    "digital_music/reviews_u8",
    "digital_music/reviews_onepass",
)
CORPORA = ("mixed_reviews", "digital_music", "rotten_tomatoes")
MAX_HISTORY = 8
HELD_OUT = 5  # last reviews per benchmark user: test, validation, and the last three that adapters learn from


def read(path: Path) -> Iterator[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def in_order(rows: Iterable[dict]) -> dict[str, list[dict]]:
    """Rows by user, each user's in the stable order (timestamp, asin)."""
    users = defaultdict(list)
    for row in rows:
        users[row["user_id"]].append(row)
    for mine in users.values():
        mine.sort(key=lambda row: (row["timestamp"] or 0, row["asin"]))
    return users


def unseen(user_id: str) -> bool:
    """Benchmark users that pre-training never sees at all: half of them, for the probe of `mini`."""
    return hashlib.sha256(user_id.encode()).digest()[0] < 128


class Corpus:
    """The review corpora of a data folder, without what is held out. `data` is laid out as rotten_tomatoes/..., etc."""

    def __init__(self, data: Path):
        hidden_users, held_keys, held_texts = set(), set(), set()
        for name in BENCHMARKS:
            for user, mine in in_order(read(data / f"{name}.jsonl.gz")).items():
                if unseen(user):
                    hidden_users.add(user)
                last = mine if unseen(user) else mine[-HELD_OUT:]
                held_keys |= {(user, row["asin"]) for row in last}
                held_texts |= {row["text"] for row in last}
        self.items, self.users = {}, {}
        for name in CORPORA:
            self.items[name] = {
                row["asin"]: Item(row["asin"], row["title"] or "", row["description"] or "")
                for row in read(data / name / "items.jsonl.gz")
            }
            rows = (
                row
                for row in read(data / name / "corpus.jsonl.gz")
                if (row["user_id"], row["asin"]) not in held_keys
                and row["text"] not in held_texts
                and row["user_id"] not in hidden_users
                and row["text"].strip()
            )
            self.users[name] = in_order(rows)
        self.kinds = defaultdict(list)
        for row in (row for mine in self.users["mixed_reviews"].values() for row in mine):
            self.kinds[row["source"]].append(row)

    def item(self, name: str, asin: str) -> Item:
        return self.items[name].get(asin) or Item(asin)

    def texts(self) -> Iterator[str]:
        for name, users in self.users.items():
            for mine in users.values():
                for row in mine:
                    yield row["text"]
                    yield self.item(name, row["asin"]).description[:120]

    def reviews(self) -> Iterator[str]:
        """The texts that pre-training may read."""
        return (row["text"] for users in self.users.values() for mine in users.values() for row in mine)

    def windows(self, name: str, rng: random.Random) -> Iterator[list[dict]]:
        """One epoch: every user's reviews cut into consecutive windows of 1 to 9, long ones likelier, cut points random.

        Half of the users are read in an order of chance: what is personal does not depend on it, and no window comes twice.
        """
        users = list(self.users[name].values())
        rng.shuffle(users)
        for mine in users:
            mine = rng.sample(mine, len(mine)) if rng.random() < 0.5 else mine
            start = 0
            while start < len(mine):
                size = MAX_HISTORY + 1 if rng.random() < 0.5 else rng.randint(1, MAX_HISTORY + 1)
                yield mine[start : start + size]
                start += size

    def made_up(self, rng: random.Random) -> Iterator[list[dict]]:
        """Windows of nine reviews by made-up authors (see habits.py), without end."""
        kinds = list(self.kinds)
        sizes = [len(self.kinds[kind]) for kind in kinds]
        while True:
            (kind,) = rng.choices(kinds, sizes)
            rows = rng.sample(self.kinds[kind], MAX_HISTORY + 1)
            rewrite = habits.author([row["text"] for row in rng.choices(self.kinds[kind], k=5)], rng)
            yield [row | {"text": rewrite(row["text"])} for row in rows]


def past(row: dict, item: Item) -> PastReview:
    review = Review(row["user_id"], row["asin"], row["text"], row["rating"], row["title"] or "", row["timestamp"])
    return PastReview(review, item, None, None, 0)


def encode(tokenizer, template: Template, chat: Chat, window: list[PastReview], max_tokens: int, rng: random.Random):
    """(ids, mask) int32/bool (n,) of one document; mask marks review text. Oldest entries go first when it is too long."""
    target = window[-1]
    title = target.review.title if rng.random() < 0.7 else ""
    rating = target.review.rating if rng.random() < 0.9 else None
    request = Request(target.review.user_id, target.item, rating, title)
    for first in range(len(window)):
        history = window[first:-1]
        (part,) = template.parts(chat, request, history)
        assert isinstance(part, Text)
        encoding = tokenizer(part.text, add_special_tokens=False, return_offsets_mapping=True)
        answer = tokenizer(chat.clean(target.review.text), add_special_tokens=False)["input_ids"]
        ids = encoding["input_ids"] + answer + [tokenizer.eos_token_id]
        if len(ids) <= max_tokens or not history:
            break
    spans, cursor = [], 0
    for entry in history:
        text = chat.clean(entry.review.text)
        begin = part.text.index("[Review] " + text, cursor) + len("[Review]")
        cursor = begin + 1 + len(text) + 1
        spans.append((begin, cursor))
    starts = np.array([offset[0] for offset in encoding["offset_mapping"]], np.int64)
    mask = np.zeros(len(ids), bool)
    for begin, end in spans:
        mask[: len(starts)] |= (starts >= begin) & (starts < end)
    mask[len(starts) :] = True
    return np.array(ids[:max_tokens], np.int32), mask[:max_tokens]
