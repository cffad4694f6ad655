"""What a file is, seen from its content: JSON, a table with a header, parquet, or a folder with a saved data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from depcli.errors import BadInput
from depcli.readers import tables
from depcli.readers.files import STDIN, Source, open_source


def open_container(path: str | os.PathLike, named: str | None, useful: Callable[[Sequence[str]], bool]):
    """Something with name, kind, unit, description, entries(), position and close(). `named` is the format that was asked for,
    None to find out; a first line is taken for a header when its columns are `useful`, and when there is no JSON in sight.
    Raises BadInput, also for a file that is not of the kind that was named."""
    found = _found(path, named, useful)
    if named in ("jsonl", "csv", "tsv", "parquet") and named != found.kind:
        found.close()
        raise BadInput(f"{found.name} is not {named}", "leave --format out, and it is found out")
    return found


def _found(path: str | os.PathLike, named: str | None, useful: Callable[[Sequence[str]], bool]):
    if path != STDIN and os.path.isdir(path) and (dataset := tables.saved_dataset(os.fspath(path))):
        return dataset
    source = open_source(path)
    try:
        if source.head.startswith(tables.PARQUET):
            if path == STDIN:
                raise BadInput("standard input holds parquet, which is read from its end", "name the file instead")
            source.close()
            return tables.parquet(os.fspath(path))
        if named in ("csv", "tsv") or (named is None and _is_table(source, useful)):
            return tables.DelimitedText(source, quotes=named != "tsv")
    except BaseException:
        source.close()
        raise
    return source


def _is_table(source: Source, useful: Callable[[Sequence[str]], bool]) -> bool:
    head = source.head
    header = None if head.lstrip()[:1] in (b"{", b"[") else tables.header_of(head)
    if header is None:
        return False
    return useful(header[1]) or not any(line.lstrip()[:1] in (b"{", b"[") for line in head.splitlines())
