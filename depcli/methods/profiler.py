"""Profiles for requests: made once for what a user's history shows, then found again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from depcli.analysts.analyst import Analyst
from depcli.analysts.answers import REFUSED, gives_orders
from depcli.analysts.cache import ProfileCache, key_of
from depcli.methods.asking import prompts_digest, title_of
from depcli.methods.base import Anchor, Method
from depcli.records import PastReview, Profile


class Profiler:
    """Makes the profiles of one method over one store snapshot, or finds them in `cache`.

    A profile is made from the reviews that a request may show and from their representative peers, and from nothing else: of the
    peers, `held_out` reviews (user_id, asin) do not count, and where fewer than `min_peers` are left there are none. What it was
    made from is its name in the cache, so a commit that leaves these reviews as they were costs no new profile. `on_make` is
    called with the number of reviews before one is made.
    """

    def __init__(
        self,
        method: Method,
        snapshot,
        analyst: Analyst,
        cache: ProfileCache,
        *,
        held_out: Iterable[tuple[str, str]] = (),
        min_peers: int = 1,
        on_make: Callable[[int], None] = lambda reviews: None,
    ):
        self.method, self.analyst, self._min_peers = method, analyst, min_peers
        self._snapshot, self._cache, self._held_out, self._on_make = snapshot, cache, frozenset(held_out), on_make
        self._known: dict[tuple, Profile] = {}  # the snapshot does not change: the names of the reviews say what they are

    def profile(self, history: Sequence[PastReview]) -> Profile:
        """The profile of the user whose reviews these are, oldest first; an empty one without reviews."""
        if not history:
            return Profile()
        name = tuple((past.review.user_id, past.review.asin) for past in history)
        if name not in self._known:
            profile = self._find_or_make(history)
            self._known[name] = replace(profile, reused=True)
            return profile
        return self._known[name]

    def _find_or_make(self, history: Sequence[PastReview]) -> Profile:
        anchors = self._anchors(history)
        key = self._key(anchors)
        reviews = [review for anchor in anchors for review in (anchor.past.review, *anchor.peers)]
        keys = {(review.user_id, review.asin) for review in reviews}
        found = self._cache.get(key, keys)
        if found:
            return found
        self._on_make(len(anchors))
        profile = replace(
            self.method.profile(self.analyst, anchors),
            commanding=sum(gives_orders(review.text) or gives_orders(review.title) for review in reviews),
        )
        if profile.text and REFUSED not in profile.analysis.failures:  # a failure is not kept: the next time may do better
            self._cache.put(
                key,
                profile,
                method=self.method.name,
                analyst=self.analyst.name,
                store_commit=self._snapshot.commit.id,
                owner=history[0].review.user_id,
                reviews=keys,
            )
        return profile

    def _anchors(self, history: Sequence[PastReview]) -> list[Anchor]:
        if not self.method.peers:
            return [Anchor(past) for past in history]
        from depcli.methods.peers import anchors

        return anchors(self._snapshot, history, self._held_out, self._min_peers)

    def _key(self, anchors: Sequence[Anchor]) -> str:
        made_from = [
            [title_of(anchor.past.item), _said(anchor.past.review), [_said(peer) for peer in anchor.peers]] for anchor in anchors
        ]
        return key_of(self.method.name, *self.analyst.identity, prompts_digest(), _code(self.method.profile), made_from)


def _code(make: Callable) -> str:
    """The source of a method of another package: while its author works on it, its profiles are made again."""
    if make.__module__.startswith("depcli."):
        return ""
    try:
        return inspect.getsource(sys.modules[make.__module__])
    except (OSError, TypeError, KeyError):  # it was not read from a file
        return ""


def _said(review) -> list:
    return [review.user_id, review.asin, review.rating, review.title, review.text]
