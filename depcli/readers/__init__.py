"""Readers: files that people have, as records. The format is found out and said, or named."""

from __future__ import annotations

from depcli.readers.entries import BadLine
from depcli.readers.formats import FORMATS
from depcli.readers.reader import Reader, open_reviews, read_items
from depcli.readers.requests import RequestLine, count_requests, read_requests, shard_of

__all__ = [
    "FORMATS",
    "BadLine",
    "Reader",
    "RequestLine",
    "count_requests",
    "open_reviews",
    "read_items",
    "read_requests",
    "shard_of",
]
