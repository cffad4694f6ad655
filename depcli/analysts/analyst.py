"""One who is asked about a user: an engine, questions, and answers that can be used or are counted as failed."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, repeat

from depcli.analysts.answers import BROKEN, CUT, EMPTY, REFUSED, TOO_LONG, Unusable, after_thought, check_script
from depcli.errors import Refused
from depcli.records import Analysis, Completion, Sampling, SoftPrompt, Text
from depcli.thought import THOUGHT, ends_open

_ATTEMPTS = 2
_AT_FIRST = 8  # questions that may be refused before any is answered
_THOUGHT_TOKENS = 4096  # of room for thinking, where the context has it
_LEAST_HEAT = 0.6  # of a second attempt: at temperature 0 it would only say the same again


@dataclass(frozen=True)
class Question:
    """What is asked, in at most `tokens` tokens of answer. `read` makes a value of the answer's text or raises Unusable; with
    `schema` (JSON text) an engine that can will keep to it. `any_script`: what it says in words may be in any."""

    system: str
    user: str
    read: Callable[[str], object]
    tokens: int
    schema: str | None = None
    any_script: bool = False


@dataclass
class Tally:
    """What asking took, added up."""

    completions: list[Completion] = field(default_factory=list)
    failures: Counter = field(default_factory=Counter)
    dropped: int = 0

    def add(self, other: Tally) -> None:
        self.completions += other.completions
        self.failures += other.failures
        self.dropped += other.dropped

    def analysis(self) -> Analysis:
        done = self.completions
        return Analysis(
            len(done),
            sum(c.prompt_tokens for c in done),
            sum(c.generated_tokens for c in done),
            sum(c.seconds for c in done),
            dict(sorted(self.failures.items())),
            self.dropped,
        )


@dataclass
class _Open:
    """A question that is not settled; `again`: another attempt may do better."""

    place: int
    question: Question
    tally: Tally = field(default_factory=Tally)
    prompt: str = ""
    again: bool = True

    def fail(self, kind: str, *, again: bool) -> None:
        self.tally.failures[kind] += 1
        self.again = again


class Analyst:
    """Asks `engine`. `name` says to people which model this is, and `weights` (called when first needed) which state of it: what
    another name or state answers is no substitute for its answers. `answered`: it has answered something, now or before."""

    def __init__(self, engine, name: str, *, temperature: float = 0.6, top_p: float = 0.95, weights: Callable[[], str] = str):
        self.engine, self.name, self.temperature, self.top_p = engine, name, temperature, top_p
        self._weights, self.answered = weights, False
        # An endpoint does not say whether its model thinks; one that does not will not use the room.
        self._thought = _THOUGHT_TOKENS if THOUGHT in engine.chat.template or engine.blind else 0

    @cached_property
    def identity(self) -> list:
        """All that its answers depend on but the question (JSON values)."""
        return [self.name, self._weights(), self.temperature, self.top_p]

    def ask(self, questions: Sequence[Question], tally: Tally) -> list:
        """The value of each answer, None where there is none; `tally` counts what `answers` does. Raises what that raises."""
        values: list = [None] * len(questions)
        for place, value, own in self.answers(questions):
            values[place] = value
            tally.add(own)
        return values

    def answers(self, questions: Iterable[Question]) -> Iterator[tuple[int, object, Tally]]:
        """(its place among the questions, the value of the answer, what it took) of each question, as they are settled. What
        cannot be used is asked once more at the end, with another seed, then dropped, and its value is None; so is that of a
        question that the engine refuses.

        Raises what the engine raises; Refused only while nothing was `answered`: then it is not for the question's sake.
        """
        open_: Iterable[_Open] = (_Open(place, question) for place, question in enumerate(questions))
        for attempt in range(_ATTEMPTS):
            failed: list[_Open] = []
            for one, value in self._attempt(attempt, open_):
                if value is None and one.again and attempt + 1 < _ATTEMPTS:
                    failed.append(one)
                    continue
                one.tally.dropped = int(value is None)
                yield one.place, value, one.tally
            open_ = failed

    def _attempt(self, attempt: int, open_: Iterable[_Open]) -> Iterator[tuple[_Open, object]]:
        """Each of them with the value of its answer, or None."""
        waiting: deque[_Open] = deque()
        unasked: list[_Open] = []

        def asked() -> Iterator[tuple[SoftPrompt, Sampling]]:
            for one in open_:
                one.prompt = self._render(one.question)
                if self._room(one.prompt) < one.question.tokens:
                    one.fail(TOO_LONG, again=False)
                    unasked.append(one)
                    continue
                waiting.append(one)
                yield SoftPrompt((Text(one.prompt),)), self._sampling(one.question, one.prompt, attempt)

        for completion in self._completions(asked()):
            one, value = waiting.popleft(), None
            if completion is None:
                one.fail(REFUSED, again=False)
            else:
                one.tally.completions.append(completion)
                try:
                    value = _value(one.question, one.prompt, completion)
                except Unusable as reason:
                    one.fail(reason.kind, again=True)
            yield one, value
        yield from ((one, None) for one in unasked)

    def _completions(self, asked: Iterator[tuple[SoftPrompt, Sampling]]) -> Iterator[Completion | None]:
        """Of each, in order; None for what is refused, where an engine breaks off: it goes on behind."""
        taken: deque[tuple[SoftPrompt, Sampling]] = deque()  # and not answered yet

        def drawn() -> Iterator[tuple[SoftPrompt, Sampling]]:
            for one in asked:
                taken.append(one)
                yield one

        rest, refused, refusal, more = drawn(), 0, None, True
        while more:
            more = False
            try:
                for completion in self.engine.generate(chain(list(taken), rest)):
                    taken.popleft()
                    self.answered = True
                    yield from repeat(None, refused)
                    refused = 0
                    yield completion
            except Refused as error:
                taken.popleft()
                refused, refusal = refused + 1, error
                more = self.answered or refused < _AT_FIRST
        if refusal and not self.answered:
            raise refusal
        yield from repeat(None, refused)

    def fits(self, question: Question) -> bool:
        """Whether question and answer fit the engine's context, thoughts aside."""
        return self._room(self._render(question)) >= question.tokens

    def _render(self, question: Question) -> str:
        return self.engine.chat.render(question.system, question.user, thought=True)

    def _room(self, prompt: str) -> int:
        return self.engine.context - self.engine.count(prompt)

    def _sampling(self, question: Question, prompt: str, attempt: int) -> Sampling:
        seed = int.from_bytes(hashlib.sha256(f"{attempt}\0{prompt}".encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1
        heat = max(self.temperature, _LEAST_HEAT) if attempt else self.temperature
        tokens = min(question.tokens + self._thought, self._room(prompt))
        return Sampling(heat, self.top_p, tokens, seed, question.schema)


def _value(question: Question, prompt: str, completion: Completion):
    said = after_thought(completion.text, opened=ends_open(prompt))
    if not question.any_script:
        check_script(said, question.user)
    try:
        return question.read(said)
    except Unusable as reason:
        cut = completion.finish == "length" and reason.kind in (BROKEN, EMPTY)
        raise Unusable(CUT if cut else reason.kind) from reason
