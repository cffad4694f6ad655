"""How much goes through the backbone at once, and what happens when that is too much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from depcli.training.examples import Example
from depcli.training.hardware import HERE, Hardware, OutOfMemory, is_out_of_memory
from depcli.training.shards import PassGivenUp
from depcli.training.workers import Workers

T = TypeVar("T")


class Budget:
    """`micro_tokens` padded tokens in one pass. Out of memory, they are halved and the work is done again: the same numbers.
    Workers that share a backbone in parts do so all together, each other worker alone."""

    def __init__(
        self,
        micro_tokens: int,
        hardware: Hardware = HERE,
        on_event: Callable[[dict], None] = lambda event: None,
        workers: Workers | None = None,
    ):
        self.micro_tokens, self.hardware, self.on_event = micro_tokens, hardware, on_event
        self.workers = workers or Workers()

    def spend(self, work: Callable[[int], T], examples: Sequence[Example]) -> T:
        """What `work(micro_tokens)` makes of these examples. Raises OutOfMemory when one of them alone is too much."""
        longest = max((len(example.encoded.ids) for example in examples), default=0)
        while True:
            try:
                result = work(self.micro_tokens)
                self.workers.weights.finish()
                return result
            except (RuntimeError, MemoryError) as error:
                if not isinstance(error, PassGivenUp) and not is_out_of_memory(error):
                    raise
                cause = error.with_traceback(None)  # which would keep the tensors of the pass alive
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if not isinstance(cause, PassGivenUp):
                self.workers.weights.fail()
            if self.micro_tokens <= longest:
                raise OutOfMemory(self.hardware, longest, self.workers.count) from cause
            self.micro_tokens = max(longest, self.micro_tokens // 2)
            self.on_event({"note": f"out of memory: going on with {self.micro_tokens:,} tokens at a time"})
