"""Readers: files that people have, as records. The format is found out and said, or named."""

from __future__ import annotations

from depcli.readers.entries import BadLine
from depcli.readers.reader import FORMATS, Reader, open_reviews, read_items

__all__ = ["FORMATS", "BadLine", "Reader", "open_reviews", "read_items"]
