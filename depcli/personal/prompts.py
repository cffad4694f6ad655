"""From requests to Prompts: the one place where a prompt is built, for writing, training and evaluation alike."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, islice
from typing import TYPE_CHECKING

from depcli.chat import Chat
from depcli.errors import BadInput
from depcli.methods.base import Method
from depcli.methods.profiler import Profiler
from depcli.personal.choices import Choices
from depcli.personal.difference import Peers
from depcli.personal.history import each_history, known_before, unknown_user
from depcli.personal.pooled import Pooling
from depcli.personal.retrieval import query_vectors, retrieve
from depcli.personal.template import Template
from depcli.personal.weighting import WeighedPeers
from depcli.records import Item, PastReview, Profile, Prompt, Request, Review, Text

if TYPE_CHECKING:
    import numpy as np

DEFAULT = Choices()
_WINDOW = 256  # requests whose store look-ups are made together
_LENGTHS = 1 << 16  # of texts that are remembered


class PromptBuilder:
    """Builds the prompts of one method over one store snapshot.

    `count` gives the tokens of a text under the backbone's tokenizer; a prompt, soft tokens included, has at most
    `max_input_tokens`. `held_out` reviews (user_id, asin) never count among the peers; a difference from fewer than
    `min_peers` of these is left out. `profiler` is there for methods with a profile, and has to hold out the same; `embed`, the
    store's embedder (texts -> unit rows (n, d) float32), for those with soft tokens before the prompt and
    for dense retrieval.
    """

    def __init__(
        self,
        snapshot,
        method: Method,
        template: Template,
        chat: Chat,
        count: Callable[[str], int],
        *,
        k: int = 8,
        max_input_tokens: int = 3072,
        choices: Choices = DEFAULT,
        held_out: Iterable[tuple[str, str]] = (),
        min_peers: int = 1,
        profiler: Profiler | None = None,
        embed: Callable[[Sequence[str]], np.ndarray] | None = None,
    ):
        self.method, self.template, self.chat, self.k = method, template, chat, k
        self.max_input_tokens, self.min_peers = max_input_tokens, min_peers
        self._snapshot, self._count, self.choices = snapshot, count, choices
        self._profiler, self._lengths = profiler, {}
        if bool(method.profile) != bool(profiler):
            raise ValueError(f"method {method.name!r} and profiler do not belong together")
        if (method.before or choices.retrieval == "dense") and not embed:
            raise ValueError(f"method {method.name!r} needs the embedder of the store")
        self._embed = embed
        self._pooling = Pooling(snapshot, method, embed) if method.before else None
        weighed = method.slots and choices.peer_weighting == "distance"  # without soft tokens the peers are only counted
        kind = WeighedPeers if weighed else Peers
        self._peers = kind(snapshot, held_out, min_peers=min_peers) if method.history else None

    def build(self, request: Request) -> Prompt:
        """The prompt of one request. Raises NotFound for an unknown user, BadInput when nothing fits the budget."""
        return next(self.build_all([request]))

    def build_all(self, requests: Iterable[Request]) -> Iterator[Prompt]:
        """Prompts in the order of the requests, with the store asked once per window of requests."""
        requests = iter(requests)
        while window := list(islice(requests, _WINDOW)):
            before = self._pooling.before(window) if self._pooling else [((), ())] * len(window)
            for request, history, (slots, pooled) in zip(window, self._histories(window), before, strict=True):
                prompt = self._fit(request, history, self.max_input_tokens - len(slots))
                yield replace(prompt, parts=(*slots, *prompt.parts), pooled=pooled)

    def build_mixed(self, requests: Iterable[tuple[Request, Request, Request]]) -> Iterator[Prompt]:
        """Prompts of the first of three requests with the past reviews of the second and the soft tokens of the third, to see
        what each is worth: requests for the same item as if by three people, of whom only the history counts.

        The newest reviews go together, and all three show as many reviews (and pool as many) as the shortest history has. Three
        times the same request is `build_all`.
        """
        requests = iter(requests)
        while window := list(islice(requests, _WINDOW)):
            own, texts, vectors = (self._histories(list(column)) for column in zip(*window, strict=True))
            before = self._pooling.before([v for _, _, v in window], self._reviews(window)) if self._pooling else None
            for i, (request, _, _) in enumerate(window):
                n = min(len(own[i]), len(texts[i]), len(vectors[i]))
                pairs = zip(texts[i][len(texts[i]) - n :], vectors[i][len(vectors[i]) - n :], strict=True)
                history = [replace(text, his=vector.his, diff=vector.diff, peers=vector.peers) for text, vector in pairs]
                slots, pooled = before[i] if before else ((), ())
                prompt = self._fit(request, history, self.max_input_tokens - len(slots))
                yield replace(prompt, parts=(*slots, *prompt.parts), pooled=pooled)

    def _reviews(self, window: list[tuple[Request, Request, Request]]) -> list[int]:
        """How many past reviews each first request has, of all its user's."""
        wanted = _by_user([request for request, _, _ in window])
        known = [0] * len(window)
        for user, stored in each_history(self._snapshot, wanted):
            for i in wanted[user]:
                known[i] = len(known_before(stored, window[i][0]))
        return known

    def _histories(self, requests: list[Request]) -> list[list[PastReview]]:
        """What may be shown for each request, oldest first, with differences."""
        if not self.method.history:
            return [[] for _ in requests]
        wanted, queries, chosen = _by_user(requests), self._queries(requests), {}
        for user, stored in each_history(self._snapshot, wanted):
            for i in wanted.pop(user):
                known = known_before(stored, requests[i])
                chosen[i] = retrieve(known, self.k, self.choices.retrieval, requests[i], queries[i])
        if wanted:
            raise unknown_user(self._snapshot, next(iter(wanted)))
        chosen = [chosen[i] for i in range(len(requests))]
        asins = {entry.review.asin for entries in chosen for entry in entries}
        items = self._snapshot.items(sorted(asins))
        differences = iter(self._peers.differences([entry for entries in chosen for entry in entries]))
        return [
            [
                PastReview(
                    entry.review, items.get(entry.review.asin) or Item(entry.review.asin), entry.vector, *next(differences)
                )
                for entry in entries
            ]
            for entries in chosen
        ]

    def _queries(self, requests: list[Request]) -> Sequence[np.ndarray | None]:
        if self.choices.retrieval != "dense":
            return [None] * len(requests)
        return query_vectors([request.item for request in requests], self._embed, self._snapshot.embedder.dimension)

    def _fit(self, request: Request, history: list[PastReview], budget: int) -> Prompt:
        """Drop whole entries until the prompt fits: first those that fit nowhere, then the oldest. Never cut the end.

        How many are dropped is guessed from the lengths of their texts, and found by trying from there on: to read each prompt
        that is too long would take most of the time where reviews are long."""
        profile = self._profile(request, history, budget)
        bare = self._render(request, [], profile)
        room = budget - self.tokens(bare)
        if room < 0:
            raise BadInput(
                f"the prompt for item {request.item.asin!r} has {self.tokens(bare):,} tokens without any history; {budget:,} fit",
                "shorten the item's description, or train with longer prompts: dep train --max-input-tokens N",
            )
        shown = [past for past in history if not self.choices.review_text or self._length(past.review) < room]
        if not shown:
            return replace(bare, dropped=len(history))

        def fitting(count: int) -> Prompt | None:
            """The prompt with the newest `count` of them, if it fits."""
            prompt = self._render(request, shown[len(shown) - count :], profile, dropped=len(history) - count)
            return prompt if self.tokens(prompt) <= budget else None

        count = self._guess(shown, room)
        found = fitting(count)
        if found:
            while count < len(shown) and (more := fitting(count + 1)):
                count, found = count + 1, more
        while count and not found:
            count -= 1
            found = fitting(count)
        return found if found.parts != bare.parts else replace(found, shown=())  # a template may show nothing of them

    def _guess(self, shown: Sequence[PastReview], room: int) -> int:
        """How many of the newest of these have texts that together fill no more than the room."""
        if not self.choices.review_text:
            return len(shown)
        return bisect_right(list(accumulate(self._length(past.review) for past in reversed(shown))), room)

    def _length(self, review: Review) -> int:
        """Tokens of a text alone, which several requests of its user ask for."""
        name = review.user_id, review.asin
        if name not in self._lengths:
            if len(self._lengths) >= _LENGTHS:
                self._lengths.clear()
            self._lengths[name] = self._count(review.text)
        return self._lengths[name]

    def _profile(self, request: Request, history: list[PastReview], budget: int) -> Profile | None:
        """What an analyst makes of the history, without its text where the item alone fills the prompt."""
        if self._profiler is None:
            return None
        profile = self._profiler.profile(history)
        fits = self.tokens(self._render(request, [], profile)) <= budget
        return profile if fits else replace(profile, text="")

    def _render(self, request: Request, shown: list[PastReview], profile: Profile | None, dropped: int = 0) -> Prompt:
        groups = self.method.slots(shown) if self.method.slots else []
        slots = [[slot for slot in group if self.choices.wants(slot.kind)] for group in groups]
        text = profile.text if profile else ""
        parts = self.template.parts(
            self.chat, request, shown, slots=slots, guidance=self.choices.guidance, profile=text, texts=self.choices.review_text
        )
        return Prompt(parts, tuple(shown), dropped, profile)

    def tokens(self, prompt: Prompt) -> int:
        """Positions that the prompt takes in the backbone."""
        return sum(self._count(part.text) if isinstance(part, Text) else 1 for part in prompt.parts)


def _by_user(requests: Sequence[Request]) -> dict[str, list[int]]:
    """Which of the requests are whose."""
    found: dict[str, list[int]] = {}
    for i, request in enumerate(requests):
        found.setdefault(request.user_id, []).append(i)
    return found
