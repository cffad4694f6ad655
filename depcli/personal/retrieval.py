"""Which K of a user's earlier reviews are shown: the latest, the closest to the item by words or by vectors, or any."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Sequence

import numpy as np

from depcli.errors import MissingDependency
from depcli.personal.history import most_recent
from depcli.records import Item, Request, Stored


def retrieve(stored: Sequence[Stored], k: int, how: str, request: Request, query: np.ndarray | None = None) -> list[Stored]:
    """K of `stored` (oldest first), oldest first again. Of equally close reviews the later one is shown; `query` (d,) is the
    vector of the item's text, for 'dense'. 'random' is the same for the same user and item."""
    if how == "recency" or len(stored) <= k:
        return most_recent(stored, k)
    if how == "random":
        name = f"{len(request.user_id)}/{request.user_id}/{request.item.asin}"
        chosen = random.Random(name.encode("utf-8", "surrogatepass")).sample(range(len(stored)), k)
    else:
        close = by_words(stored, request.item) if how == "bm25" else np.stack([entry.vector for entry in stored]) @ query
        chosen = sorted(range(len(stored)), key=lambda i: (-float(close[i]), -i))[:k]
    return [stored[i] for i in sorted(chosen)]


def by_words(stored: Sequence[Stored], item: Item) -> np.ndarray:
    """BM25 of each review's title and text for the item's text (n,)."""
    try:
        import bm25s
    except ImportError:
        raise MissingDependency("bm25s is not installed", "pip install bm25s, or another --retrieval") from None
    reviews = [_words(f"{entry.review.title} {entry.review.text}") for entry in stored]
    known = {word for words in reviews for word in words}
    wanted = [word for word in _words(query_text(item)) if word in known]
    if not wanted:
        return np.zeros(len(stored))
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it lets itself say everything, to whoever set up the root logger
    index = bm25s.BM25()
    index.index(reviews, show_progress=False)
    return index.get_scores(wanted)


def query_text(item: Item) -> str:
    """What is compared of an item that a review is to be written about."""
    return f"{item.title}\n{item.description}".strip()


def query_vectors(items: Sequence[Item], embed: Callable[[Sequence[str]], np.ndarray], d: int) -> np.ndarray:
    """(n, d) float32 of the items' texts by `embed`; zero for an item without words."""
    texts = [query_text(item) for item in items]
    asked = list(dict.fromkeys(text for text in texts if text))
    rows = dict(zip(asked, embed(asked), strict=True)) if asked else {}
    return np.stack([rows.get(text, np.zeros(d, np.float32)) for text in texts])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
