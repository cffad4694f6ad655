"""What all engines are alike in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from depcli.chat import Chat
from depcli.records import Completion, Sampling, SoftPrompt


class Engine(AbstractContextManager):
    """SoftPrompts in, Completions out.

    `width` is that of soft tokens (None where they cannot go in), `context` how many positions the backbone holds, `together` how
    many requests are computed so that the rounding of one depends on the others: 1 where each stands alone. `blind`: the prompt
    is made elsewhere, out of sight.
    """

    name: str
    chat: Chat
    width: int | None
    context: int
    together: int = 1
    blind: bool = False

    @property
    @abstractmethod
    def identity(self) -> dict:
        """What writes, as runs record it: its `name`, and which weights by `gguf`, `revision` or `endpoint`."""

    @abstractmethod
    def count(self, text: str) -> int:
        """Tokens in a piece of prompt text."""

    @abstractmethod
    def generate(
        self, requests: Iterable[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None = None
    ) -> Iterator[Completion]:
        """Completions in the order of `requests`, a few of which are taken ahead. `on_text` gets text as it comes."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what it holds. Twice is fine."""

    def __exit__(self, *_):
        self.close()


def weights_of(engine: Engine) -> str:
    """Which weights an engine runs: a digest or a commit, or where they are when they run elsewhere."""
    identity = engine.identity
    return next(identity[key] for key in ("gguf", "revision", "endpoint") if key in identity)
