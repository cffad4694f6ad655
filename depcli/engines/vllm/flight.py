"""Requests on their way through vLLM: any number may be under way, and they land in the order in which they took off."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from depcli.engines.text import TextStream
from depcli.records import Completion

_AHEAD = 1024  # under way or waiting for one before them: four times what vLLM writes at once


@dataclass(eq=False)
class Draft:
    """One completion in the making. `given` is the prompt as vLLM takes it, let go of when the text is there; `stream` gets the
    text of the first one under way as it grows."""

    given: dict
    params: SamplingParams
    stream: TextStream | None = None
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    seconds: float = 0.0

    def __post_init__(self):
        self.prompt_tokens = len(self.given["prompt_token_ids"])
        self._began = time.perf_counter()
        self.params.output_kind = RequestOutputKind.CUMULATIVE if self.stream else RequestOutputKind.FINAL_ONLY

    @property
    def bytes(self) -> int:
        embeds = self.given.get("prompt_embeds")
        return 0 if embeds is None else embeds.nbytes

    def take(self, output) -> None:
        """Note what is written so far; the token that ends a text is none of it."""
        self.tokens = list(output.token_ids)
        if output.finish_reason is None:
            return
        self.finish = output.finish_reason
        if self.tokens and self.tokens[-1] in self.params.stop_token_ids:
            self.tokens.pop()
        self.seconds = time.perf_counter() - self._began

    def completion(self, text: str) -> Completion:
        return Completion(text, self.finish, self.prompt_tokens, len(self.tokens), self.seconds, tuple(self.tokens))


class Flight:
    """Drafts under way in `core`, vLLM's LLMEngine. Their tensors may take `room` bytes together. Several flights may share a
    core, one asked while a request of another is made: each takes what comes for the others to them."""

    _taken_off = 0  # ids are never used twice in a process
    _flights: ClassVar[dict[str, Flight]] = {}  # by id of what is under way

    def __init__(self, core, room: int):
        self._core, self._room, self._bytes = core, room, 0
        self._order: deque[Draft] = deque()
        self._flying: dict[str, Draft] = {}
        self._finished: list[Draft] = []

    def __len__(self) -> int:
        return len(self._order)

    @property
    def has_room(self) -> bool:
        """Whether another may take off: a tensor larger than the room goes alone."""
        return len(self._order) < _AHEAD and self._bytes < self._room

    def add(self, draft: Draft) -> None:
        self._order.append(draft)
        self._take_off(draft)

    def _take_off(self, draft: Draft) -> None:
        Flight._taken_off += 1
        name = f"dep-{Flight._taken_off}"
        self._core.add_request(name, draft.given, draft.params)
        self._flying[name], Flight._flights[name] = draft, self
        self._bytes += draft.bytes

    def again(self, draft: Draft) -> None:
        """Let a finished draft be written anew, since its settings have changed."""
        draft.finish, draft.tokens = None, []
        self._take_off(draft)

    def step(self) -> list[Draft]:
        """Wait for what vLLM has next; the drafts that it finished."""
        for output in self._core.step() if self._flying else ():
            if flight := Flight._flights.get(output.request_id):  # else of one that was broken off
                flight._take(output)
        finished, self._finished = self._finished, []
        if self._order and self._order[0].stream and not self._order[0].finish:
            self._order[0].stream.feed(self._order[0].tokens, last=False)
        return finished

    def _take(self, output) -> None:
        draft = self._flying[output.request_id]
        draft.take(output.outputs[0])
        if draft.finish:
            del self._flying[output.request_id], Flight._flights[output.request_id]
            self._bytes -= draft.bytes
            self._finished.append(draft)

    def landed(self) -> Iterator[Draft]:
        """Those that are finished and have none before them that is not."""
        while self._order and self._order[0].finish:
            draft = self._order.popleft()
            draft.given = {}
            if draft.stream:
                draft.stream.feed(draft.tokens, last=True)
            yield draft

    def crash(self) -> None:
        """vLLM is gone, and with it all that was under way."""
        for name in self._flying:
            del Flight._flights[name]
        self._flying.clear()

    def abort(self) -> None:
        """Break off what is under way."""
        with suppress(EngineDeadError):  # Ctrl-C reaches vLLM's processes too, and they may be quicker
            if self._flying:
                self._core.abort_request(list(self._flying))
        self.crash()
