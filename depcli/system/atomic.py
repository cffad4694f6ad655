"""Files that are whole or not there, whenever the process is killed."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """A file for writing, in the same folder and for its owner alone, that replaces `path` when the block ends without an error,
    flushed to the disk: `path` is the old file or the new one, never half of it. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            to_disk(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def to_disk(descriptor: int) -> None:
    """Wait until an open file or folder is on the disk. Raises OSError."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, where fsync alone leaves it in the memory of the drive
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError:  # a file system without it
            pass
    os.fsync(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Make the folder if need be, and `path` hold `data`, all at once. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as file:
        file.write(data)
