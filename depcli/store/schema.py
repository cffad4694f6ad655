"""What the tables hold, how rows become records, and the hashes that name rows.

reviews     one row per (user, item), named by `key`; the newest version of the review
items       title and description per item, and the task where it is not to be reviewed
item_sums   per item: number of reviews and the float64 sum of their vectors
commits     one row per batch: the versions of the other three that belong together
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256
from operator import attrgetter

import numpy as np
import pyarrow as pa

from depcli.records import Item, ItemSum, Review

FORMAT = 1  # of the tables; a reader refuses a higher one
REVIEWS, ITEMS, SUMS, COMMITS = "reviews", "items", "item_sums", "commits"
DATA_TABLES = (REVIEWS, ITEMS, SUMS)
INDEXED = {REVIEWS: ("key", "user_id", "asin", "text_hash"), ITEMS: ("asin",), SUMS: ("asin",)}

ITEM_COLUMNS = ("asin", "title", "description", "task")
_HASH = pa.binary(16)
_OF_REVIEWS = ("user_id", "asin", "rating", "title", "text", "timestamp")
_COMPRESSED = {"lance-encoding:compression": "zstd"}
_TOGETHER = {  # texts are compressed 64 KiB at a time: a third smaller than one by one, which is LanceDB's way with long values
    **_COMPRESSED,
    "lance-encoding:structural-encoding": "miniblock",
    "lance-encoding:minichunk-size": "65536",
}


def _required(name: str, kind: pa.DataType, metadata: dict | None = None) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata=metadata)


def schemas(dimension: int) -> dict[str, pa.Schema]:
    """The schema of every table for vectors of this dimension."""
    reviews = [
        _required("key", _HASH),
        _required("user_id", pa.string()),
        _required("asin", pa.string()),
        pa.field("rating", pa.float64()),
        _required("title", pa.string(), _TOGETHER),
        _required("text", pa.string(), _TOGETHER),
        pa.field("timestamp", pa.float64(), metadata=_COMPRESSED),
        _required("text_hash", _HASH),
        pa.field("superseded", pa.list_(_HASH)),  # equally dated versions that this one replaced, see writing/batch.py
        _required("vector", pa.list_(pa.float32(), dimension)),
    ]
    items = [
        _required("asin", pa.string()),
        _required("title", pa.string(), _TOGETHER),
        _required("description", pa.string(), _TOGETHER),
        pa.field("task", pa.string(), metadata=_COMPRESSED),  # null: a review
    ]
    sums = [
        _required("asin", pa.string()),
        _required("reviews", pa.int64()),
        _required("total", pa.list_(pa.float64(), dimension)),
    ]
    commits = [
        _required("number", pa.int64()),
        _required("id", pa.string()),
        _required("created", pa.string()),
        _required("action", pa.string()),
        _required("source", pa.string()),
        _required("counts", pa.string()),
        *(_required(f"{table}_version", pa.int64()) for table in DATA_TABLES),
        _required("embedder", pa.string()),
        _required("revision", pa.string()),
        _required("dimension", pa.int64()),
        _required("normalized", pa.bool_()),
        _required("format", pa.int64()),
    ]
    return {REVIEWS: pa.schema(reviews), ITEMS: pa.schema(items), SUMS: pa.schema(sums), COMMITS: pa.schema(commits)}


_LENGTH = struct.Struct(">Q").pack  # goes before each part of what is hashed, so that parts cannot run into each other


def review_keys(pairs: Iterable[tuple[str, str]]) -> list[bytes]:
    """For each (user_id, asin) the 16 bytes that name the one review of this user and item."""
    users, asins = [], []
    for user, asin in pairs:
        users.append(user.encode())
        asins.append(asin.encode())
    parts = zip(map(_LENGTH, map(len, users)), users, map(_LENGTH, map(len, asins)), asins, strict=True)
    return [sha256(part).digest()[:16] for part in map(b"".join, parts)]


def text_hashes(texts: Iterable[str]) -> list[bytes]:
    """For each text the 16 bytes that name it: equal texts have one vector."""
    return [sha256(_LENGTH(len(text)) + text).digest()[:16] for text in map(str.encode, texts)]


def content_hash(text: bytes, title: str, rating: float | None) -> bytes:
    """The 16 bytes that name a version of a review. `text` is its text hash."""
    parts = (text, title.encode(), repr(None if rating is None else float(rating)).encode())
    return sha256(b"".join(_LENGTH(len(part)) + part for part in parts)).digest()[:16]


def review_rows(
    reviews: Sequence[Review],
    keys: Sequence[bytes],
    hashes: Sequence[bytes],
    superseded: Sequence[Sequence[bytes]],
    vectors: np.ndarray,
) -> pa.Table:
    """Rows for the reviews table; vectors (n, d) float32."""
    schema = schemas(vectors.shape[1])[REVIEWS]
    columns = [
        _hash_column(keys),
        *(pa.array(list(map(attrgetter(name), reviews)), schema.field(name).type) for name in _OF_REVIEWS),
        _hash_column(hashes),
        _superseded_column(superseded),
        _matrix_column(vectors),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def item_rows(items: Iterable[Item]) -> pa.Table:
    """Rows for the items table."""
    items, schema = list(items), schemas(1)[ITEMS]
    values = {name: [getattr(item, name) for item in items] for name in schema.names}
    values["task"] = [task or None for task in values["task"]]
    return pa.Table.from_pydict(values, schema=schema)


def sum_rows(asins: Sequence[str], reviews: Sequence[int], totals: np.ndarray) -> pa.Table:
    """Rows for the item_sums table; totals (n, d) float64."""
    columns = [pa.array(asins, pa.string()), pa.array(reviews, pa.int64()), _matrix_column(totals)]
    return pa.Table.from_arrays(columns, schema=schemas(totals.shape[1])[SUMS])


def reviews_of(rows: pa.Table) -> list[Review]:
    """Rows of the reviews table as records, in the order of the rows."""
    names = ("user_id", "asin", "text", "rating", "title", "timestamp")
    return [Review(*values) for values in zip(*(rows.column(name).to_pylist() for name in names), strict=True)]


def items_of(rows: pa.Table) -> dict[str, Item]:
    """Rows of the items table as records by asin."""
    columns = (rows.column(name).to_pylist() for name in ITEM_COLUMNS)
    return {asin: Item(asin, title, description, task or "") for asin, title, description, task in zip(*columns, strict=True)}


def sums_of(rows: pa.Table) -> dict[str, ItemSum]:
    """Rows of the item_sums table as records by asin."""
    totals = matrix(rows, "total")
    counts = rows.column("reviews").to_pylist()
    return {asin: ItemSum(counts[i], totals[i]) for i, asin in enumerate(rows.column("asin").to_pylist())}


def matrix(rows: pa.Table, column: str) -> np.ndarray:
    """A fixed-size list column as (n, d), in the type it is stored in."""
    lists = rows.column(column).combine_chunks()
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), lists.type.list_size)


def _hash_column(hashes: Sequence[bytes]) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(_HASH, len(hashes), [None, pa.py_buffer(b"".join(hashes))])


def _superseded_column(superseded: Sequence[Sequence[bytes]]) -> pa.Array:
    kind = pa.list_(_HASH)
    if not any(superseded):
        return pa.nulls(len(superseded), kind)
    return pa.array([list(versions) or None for versions in superseded], kind)


def _matrix_column(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])
