"""One who is asked about a user: an engine, questions, and answers that can be used or are counted as failed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from depcli.analysts.answers import BROKEN, CUT, REFUSED, TOO_LONG, Unusable, check_script, without_thought
from depcli.engines.text import THINK, THOUGHT
from depcli.errors import BadInput
from depcli.records import Analysis, Completion, Sampling, SoftPrompt, Text

_ATTEMPTS = 2
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


class Analyst:
    """Asks `engine`. `name` says to people which model this is, and `weights` (called when first needed) which state of it: what
    another name or state answers is no substitute for its answers."""

    def __init__(self, engine, name: str, *, temperature: float = 0.6, top_p: float = 0.95, weights: Callable[[], str] = str):
        self.engine, self.name, self.temperature, self.top_p = engine, name, temperature, top_p
        self._weights, self._answered = weights, False
        # An endpoint does not say whether its model thinks; one that does not will not use the room.
        self._thought = _THOUGHT_TOKENS if THOUGHT in engine.chat.template or engine.name == "openai" else 0

    @cached_property
    def identity(self) -> list:
        """All that its answers depend on but the question (JSON values)."""
        return [self.name, self._weights(), self.temperature, self.top_p]

    def ask(self, questions: Sequence[Question], tally: Tally) -> list:
        """The value of each answer, None where there is none; `tally` counts what `answers` does. Raises what that raises."""
        found = self.answers(questions)
        for _, own in found:
            tally.add(own)
        return [value for value, _ in found]

    def answers(self, questions: Sequence[Question]) -> list[tuple[object, Tally]]:
        """(the value of the answer, what it took) of each question. What cannot be used is asked once more with another seed,
        then dropped, and its value is None; so is that of a question that is refused, as by a filter of contents.

        Raises what the engine raises; BadInput only while nothing was answered yet: then it is not for the question's sake.
        """
        values, tallies = [None] * len(questions), [Tally() for _ in questions]
        prompts = [self.engine.chat.render(question.system, question.user) for question in questions]
        open_ = []
        for i, prompt in enumerate(prompts):
            if self._room(prompt) >= questions[i].tokens:
                open_.append(i)
            else:
                tallies[i].failures[TOO_LONG] += 1
        for attempt in range(_ATTEMPTS):
            if not open_:
                break
            asked = [(SoftPrompt((Text(prompts[i]),)), self._sampling(questions[i], prompts[i], attempt)) for i in open_]
            failed = []
            for i, completion in zip(open_, self._completions(asked), strict=True):
                if completion is None:
                    tallies[i].failures[REFUSED] += 1
                    continue
                tallies[i].completions.append(completion)
                try:
                    values[i] = _value(questions[i], prompts[i], completion)
                except Unusable as reason:
                    tallies[i].failures[reason.kind] += 1
                    failed.append(i)
            open_ = failed
        for value, tally in zip(values, tallies, strict=True):
            tally.dropped = int(value is None)
        return list(zip(values, tallies, strict=True))

    def _completions(self, asked: Sequence[tuple[SoftPrompt, Sampling]]) -> Iterator[Completion | None]:
        """In order; None for what is refused. From the first refusal on one by one: an engine breaks off there."""
        done, refusal = 0, None
        try:
            for completion in self.engine.generate(iter(asked)):
                done, self._answered = done + 1, True
                yield completion
        except BadInput:
            for one in asked[done:]:
                try:
                    (completion,) = self.engine.generate([one])
                    self._answered = True
                    yield completion
                except BadInput as error:
                    refusal = error
                    yield None
        if refusal and not self._answered:
            raise refusal

    def fits(self, question: Question) -> bool:
        """Whether question and answer fit the engine's context, thoughts aside."""
        return self._room(self.engine.chat.render(question.system, question.user)) >= question.tokens

    def _room(self, prompt: str) -> int:
        return self.engine.context - self.engine.count(prompt)

    def _sampling(self, question: Question, prompt: str, attempt: int) -> Sampling:
        seed = int.from_bytes(hashlib.sha256(f"{attempt}\0{prompt}".encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1
        heat = max(self.temperature, _LEAST_HEAT) if attempt else self.temperature
        tokens = min(question.tokens + self._thought, self._room(prompt))
        return Sampling(heat, self.top_p, tokens, seed, question.schema)


def _value(question: Question, prompt: str, completion: Completion):
    said = without_thought(completion.text, opened=prompt.rstrip().endswith(THINK))
    if not question.any_script:
        check_script(said, question.user)
    try:
        return question.read(said)
    except Unusable as reason:
        raise Unusable(CUT if completion.finish == "length" and reason.kind == BROKEN else reason.kind) from reason
