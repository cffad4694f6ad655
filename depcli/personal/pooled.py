"""The whole history of a user as vectors, for methods that put it before the prompt instead of into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from depcli.methods.base import Method
from depcli.personal.history import known_before, most_recent, unknown_user
from depcli.personal.retrieval import query_vectors
from depcli.records import Request, Review, Slot

LONGEST = 512  # reviews; of a longer history the most recent ones


class Pooling:
    """Makes the slots that stand before the prompts of one method over one store snapshot.

    `embed` is the embedder of the store: texts -> unit rows (n, d) float32. The query is the item's title and description; of an
    item without either it is zero, which makes all reviews weigh the same.
    """

    def __init__(self, snapshot, method: Method, embed: Callable[[Sequence[str]], np.ndarray]):
        self._snapshot, self._method, self._embed = snapshot, method, embed

    def before(
        self, requests: Sequence[Request], most: Sequence[int] | None = None
    ) -> list[tuple[tuple[Slot, ...], tuple[Review, ...]]]:
        """(slots, the reviews whose vectors they carry) of each request; `most` is how many reviews at most, for each. Raises
        NotFound for an unknown user."""
        stored = self._snapshot.histories(sorted({request.user_id for request in requests}))
        d = self._snapshot.embedder.dimension
        queries = query_vectors([request.item for request in requests], self._embed, d)
        found = []
        for request, query, limit in zip(requests, queries, most or [LONGEST] * len(requests), strict=True):
            if request.user_id not in stored:
                raise unknown_user(self._snapshot, request.user_id)
            entries = most_recent(known_before(stored[request.user_id], request), min(limit, LONGEST))
            slots = self._method.before([entry.vector for entry in entries], query)
            found.append((slots, tuple(entry.review for entry in entries)))
        return found
