"""Forgetting people and items, down to the bytes on the disk.

LanceDB's delete only hides rows. So the tables are written anew without them, one commit makes that count, and then
everything goes that is not part of it: older versions with their indexes and transactions, and what killed writers left.
A marker file, written before the commit, lets the next writer finish the cleaning when this one is killed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from depcli.errors import NotFound
from depcli.store import commits, schema
from depcli.store.disk import durable, lance
from depcli.store.disk.failures import storage_errors
from depcli.store.schema import INDEXED, ITEMS, REVIEWS, SUMS
from depcli.store.writing.tables import Tables
from depcli.system.interrupts import uninterrupted
from depcli.system.permissions import make_private

_MARKER = "erasing"  # in the store folder: the number of the commit after which the folder is to be cleaned


@dataclass(frozen=True)
class Erased:
    """How many reviews are gone, how many items, and how many earlier commits, since they would show what was forgotten."""

    reviews: int
    items: int
    commits: int


def forget(tables: Tables, users: Collection[str], asins: Collection[str]) -> Erased:
    """Erase every review of these users and of these items, and what is known of the items; so too what is known of items that
    only these users reviewed, since it may tell of them: a diary's entries, say. Raises NotFound, and changes nothing, when one
    of them is not in the store."""
    with storage_errors(tables.folder), uninterrupted():
        tables.roll_back()
        theirs = lance.rows(tables[REVIEWS], "user_id", users, ("user_id", "asin", "vector"))
        refuse_unknown("user", users, theirs.column("user_id").to_pylist())
        refuse_unknown("item", asins, [asin for name in (ITEMS, SUMS) for asin in _known(tables[name], asins)])
        before, described = tables[REVIEWS].count_rows(), tables[ITEMS].count_rows()
        with tables.nothing_left():
            rewrite(tables, REVIEWS, _without(scan(tables, REVIEWS), user_id=users, asin=asins))
            rewrite(tables, SUMS, _without(_less(scan(tables, SUMS), theirs), asin=asins))
            if leaving := {*asins, *_own_items(tables, users, theirs.column("asin").to_pylist())}:
                rewrite(tables, ITEMS, _without(scan(tables, ITEMS), asin=leaving))
            reviews, items = before - tables[REVIEWS].count_rows(), described - tables[ITEMS].count_rows()
            erased = Erased(reviews, items, len(commits.readable(tables.log)))
            tables.settle()  # cleaning shall find nothing to join: it would remove the version that was committed
            _mark(tables.folder, tables.head.number + 1)
        tables.commit("forget", "", {"reviews_removed": erased.reviews, commits.DROPPED: erased.commits})
        finish(tables)
    return erased


def scan(tables: Tables, name: str) -> Iterator[pa.Table]:
    """Every row of a table, a few thousand at a time."""
    return lance.scan(tables[name], tables[name].schema.names)


def rewrite(tables: Tables, name: str, rows: Iterable[pa.Table]) -> None:
    """Put these rows, which may come from scan(), in the place of a whole table. Nothing of it counts before a commit."""
    lance.rewrite(tables[name], rows, INDEXED[name])


def unfinished(folder: Path) -> bool:
    """Whether an erasing was killed before its end; the next writer finishes it."""
    return (folder / _MARKER).exists()


def finish(tables: Tables) -> None:
    """Leave nothing on the disk but the newest version of every table, if a forgetting was committed that still has to."""
    marker = tables.folder / _MARKER
    with storage_errors(tables.folder), uninterrupted():
        if not marker.exists():
            return
        number = marker.read_text("ascii").strip()
        if any(str(commit.number) == number and commit.action == "forget" for commit in tables.log):
            tables.settle_commits()
            for table in tables.all:
                lance.prune(table, table.version)
            lance.remove_temporary_files(tables.folder)
            make_private(tables.folder)
            tables.disk.finish()  # else a power cut could bring back what was removed, when nobody looks for it any more
        marker.unlink()
        durable.flush([marker], tables.folder)


def _mark(folder: Path, number: int) -> None:
    marker = folder / _MARKER
    marker.write_text(str(number), "ascii")
    durable.flush([marker], folder)


def _own_items(tables: Tables, users: Collection[str], reviewed: Collection[str]) -> set[str]:
    """Of the items that are described, those that nobody reviews any more once the sums are written anew: of the `reviewed` ones,
    and of those that the reader of LaMP named after one of the users (see readers/lamp.py)."""
    if not users:
        return set()
    named = re.compile(f"(?:{'|'.join(map(re.escape, users))})/(?:target|\\d{{5,}})")
    described = (asin for rows in lance.scan(tables[ITEMS], ("asin",)) for asin in rows.column("asin").to_pylist())
    found = {asin for asin in described if named.fullmatch(asin)}.union(_known(tables[ITEMS], set(reviewed)))
    return found.difference(_known(tables[SUMS], found))


def _known(table, asins: Collection[str]) -> list[str]:
    return lance.rows(table, "asin", asins, ("asin",)).column("asin").to_pylist()


def refuse_unknown(what: str, asked: Collection[str], known: Collection[str]) -> None:
    """Raise NotFound when one of the users or items asked for is not among the known ones."""
    unknown = sorted(set(asked) - set(known))
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise NotFound(
            f"the store has no {what} {names}",
            "nothing was removed: erased before, or never there; ids are compared letter by letter",
        )


def _without(parts: Iterable[pa.Table], **leaving: Collection[str]) -> Iterator[pa.Table]:
    """The rows whose columns have none of these values."""
    for rows in parts:
        for column, values in leaving.items():
            rows = rows.filter(pc.invert(pc.is_in(rows.column(column), pa.array(values, pa.string()))))
        yield rows


def _less(parts: Iterable[pa.Table], leaving: pa.Table) -> Iterator[pa.Table]:
    """Rows of the item sums without what these reviews (asin, vector) brought in, and without items that nobody else reviewed."""
    counts: dict[str, int] = {}
    totals: dict[str, np.ndarray] = {}
    for asin, vector in zip(leaving.column("asin").to_pylist(), schema.matrix(leaving, "vector"), strict=True):
        counts[asin] = counts.get(asin, 0) + 1
        totals[asin] = totals.get(asin, 0.0) + vector.astype(np.float64)
    for rows in parts:
        asins, reviews, sums = rows.column("asin").to_pylist(), rows.column("reviews").to_numpy(), schema.matrix(rows, "total")
        reviews, sums = reviews - [counts.get(asin, 0) for asin in asins], sums.copy()
        for place, asin in enumerate(asins):
            if asin in totals:
                sums[place] -= totals[asin]
        yield schema.sum_rows(asins, reviews, sums).filter(pa.array(reviews > 0))
