"""The few LanceDB calls that everything else goes through. Values reach LanceDB as literals, never as filter text."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from depcli.errors import BadInput
from depcli.store.disk.durable import flush, temporary_files
from depcli.store.disk.placeholders import without
from depcli.store.disk.whole import version_of, whole_files

os.environ.setdefault("LANCEDB_LOG", "error")  # before the import: it warns on stderr about every table it makes

# Bytes that a scan reads ahead. Its default, 2 GiB, may hold a whole table while it is written anew.
os.environ.setdefault("LANCE_DEFAULT_IO_BUFFER_SIZE", str(64 * 2**20))

# Most of the time of importing LanceDB would go into a client of namespace services, which a store in a folder never asks, and,
# before Python 3.12, into the comparison of every method with the one that it overrides.
with (
    without("lance_namespace_urllib3_client", "lance_namespace"),
    without("overrides", EnforceOverrides=object, override=lambda method: method),
):
    import lancedb
    from lancedb.expr import Expr, col, lit
    from lancedb.index import BTree

_VALUES_PER_QUERY = 8192
_ROWS_PER_BATCH = 4096
_INDEXES_AT_ONCE = 2
_ROW_BITS = 32  # of a row id, that number the row within its piece
_SURROGATE = re.compile("[\ud800-\udfff]")
_DATED = ("_transactions", "_deletions")  # folders of a table with files that LanceDB removes by their age
_KEEP = timedelta(days=36500)  # optimize() drops versions after 7 days unless told otherwise: the newest commit may be older


def connect(folder: Path):
    """A connection that sees what other processes commit only when a table is opened. Raises BadInput for a path that LanceDB
    cannot use."""
    whole = folder.resolve()  # in a relative path LanceDB would take ~ for the home folder, and s3: for a service
    try:
        return lancedb.connect(str(whole))
    except ValueError as error:
        message = f"{folder} cannot hold a profile store: its path has control characters, or is not UTF-8"
        raise BadInput(message, "name another folder with --profiles") from error


def open_table(db, name: str, version: int | None = None):
    """The table, writable at its latest version, or read-only at a given one."""
    table = db.open_table(name)
    if version is not None and table.version != version:
        table.checkout(version)
    return table


def manifests(folder: Path, name: str) -> set[str]:
    """The files of the versions that a table in the store folder has: others after every change, none when it was never written.
    Raises OSError where one may not look."""
    try:
        return {file for file in os.listdir(folder / f"{name}.lance" / "_versions") if file.endswith(".manifest")}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def rows(table, column: str, values: Iterable[str | bytes], select: Sequence[str]) -> pa.Table:
    """The rows whose `column` is one of `values`, in no particular order."""
    found = [table.search().where(given).select(list(select)).limit(None).to_arrow() for given in _one_of(column, values)]
    return pa.concat_tables(found) if found else pa.schema([table.schema.field(name) for name in select]).empty_table()


def batches(table, column: str, values: Iterable[str | bytes], select: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The same rows, a few thousand at a time: memory stays small however many there are."""
    for given in _one_of(column, values):
        yield from table.search().where(given).select(list(select)).limit(None).to_batches(_ROWS_PER_BATCH)


def all_rows(table, select: Sequence[str]) -> pa.Table:
    """These columns of every row, in no particular order."""
    return table.search().select(list(select)).limit(None).to_arrow()


def scan(table, select: Sequence[str], *, row_ids: bool = False) -> Iterator[pa.Table]:
    """The same, a few thousand rows at a time; with `row_ids` there is a column _rowid too."""
    for batch in table.search().select(list(select)).with_row_id(row_ids).limit(None).to_batches(_ROWS_PER_BATCH):
        yield pa.Table.from_batches([batch])


def versions(table) -> list[int]:
    """The versions of the table that are still there, oldest first."""
    return sorted(version["version"] for version in table.list_versions())


def indexed(table) -> set[str]:
    """The columns that have an index."""
    return {column for index in table.list_indices() for column in index.columns}


def unindexed_rows(table) -> int:
    """How many rows were written after the newest index: lookups read these one by one."""
    return max((index.num_unindexed_rows for index in table.list_indices()), default=0)


def add(table, rows: pa.Table | Iterable[pa.Table]) -> None:
    """Add these rows. They may be made while they are asked for: memory holds one of the tables at a time."""
    if isinstance(rows, pa.Table):
        with whole_files(table):
            table.add(rows.cast(table.schema))
    else:
        _write(table, rows, "append")


def delete(table, column: str, values: Iterable[str | bytes]) -> None:
    """Delete the rows whose `column` is one of `values`."""
    with whole_files(table):
        for given in _one_of(column, values):
            table.delete(given)


def _one_of(column: str, values: Iterable[str | bytes]) -> Iterator[Expr]:
    """The filter `column IN values`, cut into several that are not too long."""
    literals = [lit(value) for value in values if _storable(value)]
    for start in range(0, len(literals), _VALUES_PER_QUERY):
        yield col(column).isin(literals[start : start + _VALUES_PER_QUERY])


def _storable(value: str | bytes) -> bool:
    """Whether a table could hold it at all: a name from the command line may have lone surrogates, which match nothing."""
    return isinstance(value, bytes) or not _SURROGATE.search(value)


def add_indexes(table, columns: Collection[str]) -> None:
    """A B-tree on each of these columns: lookups stay quick however long the table grows."""
    with whole_files(table), ThreadPoolExecutor(_INDEXES_AT_ONCE) as threads:  # each takes hardly more than one core
        list(threads.map(lambda column: table.create_index(column, config=BTree()), columns))


def index_anew(table) -> None:
    """Bring the indexes up to date by making them again, which leaves the rows where they are: optimize() copies them."""
    add_indexes(table, indexed(table))


def fragments(table) -> int:
    """How many pieces the table is in: each write adds one."""
    return table.stats()["fragment_stats"]["num_fragments"]


def fragment_rows(table) -> dict[int, int]:
    """Rows per piece, by its number: the upper 32 bits of the row ids in it."""
    sizes: Counter[int] = Counter()
    for rows in scan(table, (table.schema.names[0],), row_ids=True):
        for found in pc.value_counts(pc.shift_right(rows.column("_rowid"), pa.scalar(_ROW_BITS, pa.uint64()))).to_pylist():
            sizes[found["values"]] += found["counts"]
    return dict(sizes)


def rows_in(table, fragments: Sequence[int]) -> pa.Table:
    """All columns of the rows in these pieces."""
    return table.search().where(_in(fragments)).select(table.schema.names).limit(None).to_arrow()


def delete_in(table, fragments: Sequence[int]) -> None:
    """Delete these pieces."""
    with whole_files(table):
        table.delete(_in(fragments))


def _in(fragments: Sequence[int]) -> Expr:
    row, spans = col("_rowid"), ((lit(number << _ROW_BITS), lit((number + 1) << _ROW_BITS)) for number in fragments)
    return reduce(or_, ((row >= start) & (row < end) for start, end in spans))


def optimize(table) -> None:
    """Join small pieces and bring the indexes up to date. Every version stays readable."""
    with whole_files(table):
        table.optimize(cleanup_older_than=_KEEP)


def settle(table) -> None:
    """Optimize until another pass would change nothing: pieces that an index covers are only joined with their like, so one
    pass may leave work for the next."""
    before = None
    while table.version != before:
        before = table.version
        optimize(table)


def rewrite(table, rows: Iterable[pa.Table], indexed_columns: Collection[str]) -> None:
    """Put these rows in the place of all that the table holds, as a new version with new files and new indexes. The rows may
    come from a scan of the same table; memory holds a few thousand of them at a time."""
    _write(table, rows, "overwrite")
    add_indexes(table, indexed_columns)


def _write(table, rows: Iterable[pa.Table], mode: Literal["append", "overwrite"]) -> None:
    schema, failed = table.schema, []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for part in rows:
                yield from part.cast(schema).to_batches()
        except Exception as error:
            failed.append(error)
            raise

    try:
        with whole_files(table):
            table.add(pa.RecordBatchReader.from_batches(schema, batches()), mode=mode)
    except RuntimeError as error:
        raise failed[0] if failed else error from None  # LanceDB passes on what went wrong with the rows as text


def prune(table, oldest: int) -> None:
    """Remove the versions before `oldest` and all files that no version needs any more. The table must be settled, else the
    newest version would be a new one; nobody else may be writing. (LanceDB goes by their age alone, and keeps what a clock that
    was ahead dated later than now.)"""
    folder = Path(table.uri) / "_versions"
    removed = [path for path in folder.glob("*.manifest") if 0 < version_of(path) < oldest]
    for path in removed:
        path.unlink()
    flush(removed, folder)
    for path in (path for part in _DATED for path in (Path(table.uri) / part).glob("*")):
        os.utime(path, (0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that readers of those versions will fail: see commits.reading
        table.optimize(cleanup_older_than=_KEEP, delete_unverified=True)


def version_times(table) -> dict[int, float]:
    """When each version that is still there was made, in unix seconds."""
    return {version["version"]: version["timestamp"].timestamp() for version in table.list_versions()}


def remove_temporary_files(folder: Path) -> None:
    """What killed writers left in the tables of this folder, and LanceDB never removes."""
    for leftover in temporary_files(folder):
        os.unlink(leftover)
