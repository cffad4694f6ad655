"""What `dep show` says of a store, a user or an item, as plain documents ready for JSON."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from depcli.analysts.cache import ProfileCache
from depcli.errors import NotFound
from depcli.personal.difference import Peers
from depcli.personal.history import unknown_user
from depcli.personal.unusual import standing
from depcli.records import Item, Profile, Review, Stored, stable_order
from depcli.store import Snapshot
from depcli.store.schema import matrix, reviews_of
from depcli.store.snapshot import REVIEW_COLUMNS


def of_store(snapshot: Snapshot) -> dict:
    """Everybody who wrote and everything that was reviewed or described, those with the most reviews first, ties by id."""
    titles = {item.asin: item.title for item in snapshot.all_items()}
    users, items = Counter(), Counter(dict.fromkeys(titles, 0))
    for rows in snapshot.review_rows(("user_id", "asin")):
        users.update(rows.column("user_id").to_pylist())
        items.update(rows.column("asin").to_pylist())
    return {
        "store_commit": snapshot.commit.id,
        "users": [{"user_id": user, "reviews": reviews} for user, reviews in _most_first(users)],
        "items": [{"asin": asin, "title": titles.get(asin, ""), "reviews": reviews} for asin, reviews in _most_first(items)],
    }


def of_user(snapshot: Snapshot, user_id: str, *, most: int = 3, vectors: bool = False) -> dict:
    """A user: the whole history, oldest first, with the distance of each review from the mean of its peers; how unusual the user
    is; and the `most` reviews that differ most, each beside the nearest and the farthest peer's. With `vectors` every review
    has its own and its difference. Raises NotFound."""
    history = snapshot.histories([user_id]).get(user_id)
    if history is None:
        raise unknown_user(snapshot, user_id)
    asins = [entry.review.asin for entry in history]
    peers, items = Peers(snapshot), snapshot.items(asins)
    sums = peers.sums(asins)
    entries, differing = [], []
    for entry in history:
        difference, others = peers.difference(entry, sums)
        length = None if difference is None else float(np.linalg.norm(difference))
        document = {
            **_review(entry.review),
            "item_title": items.get(entry.review.asin, Item("")).title,
            "peers": others,
            "difference": length,
        }
        if length is not None:
            differing.append((length, document, entry))
        if vectors:
            document |= {"vector": _plain(entry.vector), "difference_vector": _plain(difference)}
        entries.append(document)
    differing.sort(key=lambda found: -found[0])
    return {
        "user_id": user_id,
        **_counted(entry.review for entry in history),
        "store_commit": snapshot.commit.id,
        "unusual": asdict(standing(snapshot, user_id)),
        "history": entries,
        "most_different": [_beside_peers(snapshot, document, entry) for _, document, entry in differing[:most]],
    }


def of_item(snapshot: Snapshot, asin: str, *, vectors: bool = False) -> dict:
    """An item: its description and everybody's review of it, oldest first, with the distance of each from the mean of the others.
    Raises NotFound."""
    described = snapshot.items([asin]).get(asin)
    total = snapshot.sums([asin]).get(asin)
    if described is None and total is None:
        hint = f"it knows {snapshot.counts()['items']:,} items; ids are case-sensitive"
        raise NotFound(f"no item {asin!r} in the store", hint)
    found: list[tuple[Review, dict]] = []
    for rows in snapshot.review_rows(REVIEW_COLUMNS, asin) if total else ():
        own = matrix(rows, "vector").astype(np.float64)
        differences = own - (total.total - own) / (total.reviews - 1) if total.reviews > 1 else None
        for i, review in enumerate(reviews_of(rows)):
            difference = None if differences is None else differences[i]
            document = {**_review(review), "difference": None if difference is None else float(np.linalg.norm(difference))}
            if vectors:
                document |= {"vector": _plain(own[i]), "difference_vector": _plain(difference)}
            found.append((review, document))
    found.sort(key=lambda pair: (stable_order(pair[0]), pair[0].user_id))
    described = described or Item(asin)
    return {
        "asin": asin,
        "title": described.title,
        "description": described.description,
        "task": described.task,
        **_counted(review for review, _ in found),
        "store_commit": snapshot.commit.id,
        "reviewers": [document for _, document in found],
    }


def profiles_of(profiles: Path, snapshot: Snapshot, user_id: str, method: str) -> dict:
    """The profiles that a method has made of a user, newest first. Raises NotFound when there is none."""
    if not snapshot.has_user(user_id):
        raise unknown_user(snapshot, user_id)
    kept = ProfileCache(profiles).of_user(user_id, method)
    if not kept:
        raise NotFound(
            f"{method} has made no profile of {user_id!r} yet",
            f"dep write --user {shlex.quote(user_id)} --item ITEM --method {method}",
        )
    return {
        "user_id": user_id,
        "method": method,
        "profiles": [{**entry, "profile": profile_document(entry["profile"])} for entry in kept],
    }


def profile_document(profile: Profile) -> dict:
    """A profile as plain values; how often each dimension was seen stands beside it."""
    document = asdict(profile)
    for dimension, said in zip(profile.dimensions, document["dimensions"], strict=True):
        said["seen"] = dimension.seen
    return document


def _most_first(counted: Counter) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))


def _counted(reviews: Iterable[Review]) -> dict:
    """How many reviews in stable order, from when to when (unix seconds), and how the ratings spread."""
    reviews = list(reviews)
    times = [review.timestamp for review in reviews if review.timestamp is not None]
    ratings = sorted(review.rating for review in reviews if review.rating is not None)
    return {
        "reviews": len(reviews),
        "first": min(times, default=None),
        "last": max(times, default=None),
        "ratings": _spread(ratings) if ratings else None,
    }


def _spread(ratings: list[float]) -> dict:
    return {
        "rated": len(ratings),
        "mean": statistics.fmean(ratings),
        "deviation": statistics.pstdev(ratings),
        "median": statistics.median(ratings),
        "counts": dict(Counter(f"{rating:g}" for rating in ratings)),
    }


def _review(review: Review) -> dict:
    return {name: getattr(review, name) for name in ("user_id", "asin", "text", "rating", "title", "timestamp")}


def _plain(vector: np.ndarray | None) -> list[float] | None:
    return None if vector is None else vector.tolist()


def _beside_peers(snapshot: Snapshot, document: dict, entry: Stored) -> dict:
    """A review of the history with the peers' reviews that are nearest to it and farthest from it."""
    (near, near_user), (far, far_user) = _extremes(snapshot, entry)
    asin = entry.review.asin
    reviews = snapshot.reviews([(near_user, asin), (far_user, asin)])
    said = {key: document[key] for key in ("asin", "item_title", "text", "rating", "title", "timestamp", "peers", "difference")}
    return {
        **said,
        "nearest": {**_review(reviews[near_user, asin]), "cosine": near},
        "farthest": {**_review(reviews[far_user, asin]), "cosine": far},
    }


def _extremes(snapshot: Snapshot, entry: Stored) -> tuple[tuple[float, str], tuple[float, str]]:
    """(cosine, user) of the nearest and of the farthest peer; of equals the first by user id."""
    own, near, far = entry.vector.astype(np.float64), [], []
    for rows in snapshot.review_rows(("user_id", "vector"), entry.review.asin):
        users, vectors = rows.column("user_id").to_pylist(), matrix(rows, "vector").astype(np.float64)
        cosines = vectors @ own / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(own))
        ranked = [(float(cosine), user) for cosine, user in zip(cosines, users, strict=True) if user != entry.review.user_id]
        near.append(min(((-cosine, user) for cosine, user in ranked), default=(2.0, "")))
        far.append(min(ranked, default=(2.0, "")))
    return (-min(near)[0], min(near)[1]), min(far)
