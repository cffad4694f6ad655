"""What people wrote is nobody else's business: files that only their owner can open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def private() -> Iterator[None]:
    """Files made in this block, by whatever library, are 0600 and folders 0700."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def make_private(folder: Path) -> None:
    """Take everybody else's rights from a folder and all that is in it."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if mode & 0o077 and not path.is_symlink():
            path.chmod(mode & 0o700)
