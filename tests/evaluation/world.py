"""A small real store: users with habits, items with several reviewers, ties, undated reviews, odd user ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depcli import methods
from depcli.actions.writing import Writer
from depcli.adapters.dep import DepAdapter, DepShape
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.records import EmbedderIdentity, Item, Review
from depcli.store import Store

D = 12
USERS = ("ann", "O'Brien", '../x" OR 1=1', "émile 🎬", "bob")
ITEMS = [Item(f"film{i}", f"Film {i}", "A drama." if i % 2 else "") for i in range(6)]


def reviews() -> list[Review]:
    """Five users with 4, 5, 6, 4, 5 reviews; two users with too few. Times tie; the oldest of "bob" has none."""
    made = []
    for u, user in enumerate(USERS):
        for n in range(4 + u % 3):
            item = ITEMS[(u + n) % len(ITEMS)]
            undated = user == "bob" and n == 0
            text = f"{'Quiet' if u % 2 else 'Loud'} film number {n}, it grows on you."
            made.append(
                Review(user, item.asin, text, float(1 + n % 5), "A title" if n % 2 else "", None if undated else 100.0 + n // 2)
            )
    made += [Review("few", ITEMS[n].asin, "Not my thing.", 2.0, "", float(n)) for n in range(3)]
    return [*made, Review("single", "film0", "Too long.", 1.0)]


def make_store(path: Path, entries: list[Review] | None = None) -> Store:
    entries = reviews() if entries is None else entries
    vectors = np.random.default_rng(0).normal(size=(len(entries), D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = Store.create(path, EmbedderIdentity("random", "0", D))
    with store.writer() as writer:
        writer.upsert(entries, vectors, ITEMS[:-1], source="made up")  # the last item is never described
    return store


def make_writers(snapshot, engine, split, names=("nonperso", "rag", "dep")) -> dict[str, Writer]:
    import torch

    torch.manual_seed(0)
    adapter = DepAdapter(DepShape(D, 6, engine.width, 2.0)).eval()
    return {
        name: Writer(
            PromptBuilder(
                snapshot,
                methods.find(name),
                Template("compact"),
                engine.chat,
                engine.count,
                k=2,
                max_input_tokens=700,
                held_out=split.held_out,
            ),
            engine,
            adapter if name == "dep" else None,
        )
        for name in names
    }
