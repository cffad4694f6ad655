"""Training examples of real reviews, for benchmarks that need some."""

from __future__ import annotations

import tempfile

from depcli import backbones, embedders, methods
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.readers import open_reviews
from depcli.splits.split import leave_last_out, pairs_of
from depcli.store import Store
from depcli.store.writing.ingest import ingest
from depcli.training.examples import Example, make_examples


def real_samples(spec, tokenizer, reviews: str, items: str, samples: int) -> list[Example]:
    """Training examples of the users with the longest histories, vectors from the offline embedder."""
    with tempfile.TemporaryDirectory() as folder:
        embedder = embedders.load("minilm", offline=True)
        store = Store.create(folder, embedder.identity)
        entries = [entry for path in (items, reviews) for entry in open_reviews(path)]
        users: dict[str, int] = {}
        for entry in entries:
            if hasattr(entry, "user_id"):
                users[entry.user_id] = users.get(entry.user_id, 0) + 1
        chosen = set(sorted(users, key=users.get, reverse=True)[:samples])
        wanted = (entry for entry in entries if getattr(entry, "user_id", None) in chosen or not hasattr(entry, "user_id"))
        ingest(store, wanted, embedder, source=reviews)
        return samples_of(store, spec, tokenizer, samples)


def samples_of(store, spec, tokenizer, samples: int) -> list[Example]:
    """Training examples of a store's users, the last review of each."""
    snapshot = store.snapshot()
    split = leave_last_out(snapshot, targets_per_user=1)
    builder = PromptBuilder(
        snapshot,
        methods.find("dep"),
        Template(spec.template),
        backbones.chat_of(tokenizer),
        lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
        max_input_tokens=spec.max_input_tokens,
        held_out=split.held_out,
    )
    examples = make_examples(builder, tokenizer, pairs_of(split.train[:samples], snapshot), 2048)
    return [example for example in examples if example.slots]
