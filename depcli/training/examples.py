"""Training examples: a prompt, its slots, and the real review behind it, tokenized once. And their order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depcli.backbones.sequence import Encoded, encode
from depcli.records import Prompt, Request, Slot

if TYPE_CHECKING:
    from depcli.personal.prompts import PromptBuilder


_TOLD = 32


@dataclass(frozen=True, eq=False)
class Example:
    """One review to learn: its sequence, and the slots of its prompt in reading order (none for text-only methods)."""

    encoded: Encoded
    slots: tuple[Slot, ...]
    prompt: Prompt
    answer: str


def make_examples(
    builder: PromptBuilder,
    tokenizer,
    pairs: Iterable[tuple[Request, str]],
    max_target_tokens: int,
    on_made: Callable[[int], None] = lambda made: None,
) -> list[Example]:
    """Examples of (request, real review) pairs, in order. `on_made` is told how many there are, now and then."""
    pairs = list(pairs)
    examples = []
    for prompt, (_, text) in zip(builder.build_all(request for request, _ in pairs), pairs, strict=True):
        slots = tuple(part for part in prompt.parts if isinstance(part, Slot))
        examples.append(Example(encode(prompt.parts, tokenizer, text, max_target_tokens), slots, prompt, text))
        if len(examples) % _TOLD == 0:
            on_made(len(examples))
    return examples


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices in batches of similar length. A function of its arguments alone, so a resumed run sees the same order."""
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool = 8 * batch_size  # wide enough to group lengths, narrow enough that batches differ between epochs
    batches = []
    for start in range(0, len(order), pool):
        group = sorted(order[start : start + pool], key=lambda i: lengths[i])
        batches += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    rng.shuffle(batches)
    return batches
