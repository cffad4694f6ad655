"""What the store derives, computed again from the reviews themselves, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from depcli.store import schema
from depcli.store.disk import lance

_TOTALS_BYTES = 64 * 2**20  # of item sums held at a time: there is one pass over the reviews for each such slice
NORM_TOLERANCE = 1e-3


def items_at_once(dimension: int) -> int:
    """How many items' sums are held in memory together."""
    return max(1, _TOTALS_BYTES // (8 * dimension))


def reviewed(reviews) -> set[str]:
    """Every item of the reviews table."""
    found: set[str] = set()
    for rows in lance.scan(reviews, ("asin",)):
        found.update(pc.unique(rows.column("asin")).to_pylist())
    return found


def sums(reviews, asins: Sequence[str], dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each of these items (n, some may be named twice) the number of reviews (n,) int64 and the sum of their vectors (n, d)
    float64, by one pass over the reviews table."""
    place: dict[str, int] = {}
    rows_of = [place.setdefault(asin, len(place)) for asin in asins]
    counts, totals = np.zeros(len(place), np.int64), np.zeros((len(place), dimension))
    for rows in lance.scan(reviews, ("asin", "vector")):
        of = np.array([place.get(asin, -1) for asin in rows.column("asin").to_pylist()])
        order = np.argsort(of, kind="stable")
        order = order[np.searchsorted(of[order], 0) :]  # the reviews of other items have place -1
        starts = np.flatnonzero(np.diff(of[order], prepend=-1))
        if len(starts):
            vectors = schema.matrix(rows, "vector")[order].astype(np.float64)
            totals[of[order][starts]] += np.add.reduceat(vectors, starts, axis=0)
            counts += np.bincount(of[order], minlength=len(counts))
    return (counts, totals) if len(place) == len(asins) else (counts[rows_of], totals[rows_of])


def sum_rows(reviews, dimension: int) -> Iterator[pa.Table]:
    """All rows that belong in the item_sums table, sorted by item."""
    asins, at_once = sorted(reviewed(reviews)), items_at_once(dimension)
    for start in range(0, len(asins), at_once):
        part = asins[start : start + at_once]
        yield schema.sum_rows(part, *sums(reviews, part, dimension))


def keys(rows: pa.Table) -> list[bytes]:
    """The key that each row of the reviews table should have."""
    users, asins = rows.column("user_id").to_pylist(), rows.column("asin").to_pylist()
    return schema.review_keys(zip(users, asins, strict=True))


def text_hashes(rows: pa.Table) -> list[bytes]:
    """The text_hash that each row of the reviews table should have."""
    return schema.text_hashes(rows.column("text").to_pylist())


def differ(rows: pa.Table, column: str, right: Sequence[bytes]) -> np.ndarray:
    """Which rows hold something else in this column: (n,) bool."""
    return np.array([found != value for found, value in zip(rows.column(column).to_pylist(), right, strict=True)], bool)


def usable(vectors: np.ndarray, normalized: bool) -> np.ndarray:
    """Which rows of (n, d) float32 are vectors that an embedder can have made: (n,) bool. Finite, and of norm 1 within 0.001
    where the embedder normalizes."""
    finite = np.isfinite(vectors).all(axis=1)
    if not normalized:
        return finite
    norms = np.linalg.norm(np.where(finite[:, None], vectors, 0), axis=1)
    return finite & (np.abs(norms - 1) <= NORM_TOLERANCE)


def slices(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` each, the last one shorter: a scan comes in tables as small as the pieces on disk."""
    held: list[pa.Table] = []
    room = rows
    for table in tables:
        while table.num_rows:
            held.append(table.slice(0, room))
            table, room = table.slice(room), room - held[-1].num_rows
            if room == 0:
                yield pa.concat_tables(held)
                held, room = [], rows
    if held:
        yield pa.concat_tables(held)
