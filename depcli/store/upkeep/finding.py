"""One thing about a store that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass

BACKUP = "restore a backup, or ingest again into another folder"


@dataclass(frozen=True)
class Finding:
    """`what` is the part of the store, `message` says what is wrong with `count` of them, `examples` name the first few.
    `remedy` is what to do where nothing can be computed again; '' where `dep check --repair` mends it. Without `harm` everything
    is right, and only slower than it could be."""

    what: str
    message: str
    count: int = 1
    remedy: str = ""
    examples: tuple[str, ...] = ()
    harm: bool = True
