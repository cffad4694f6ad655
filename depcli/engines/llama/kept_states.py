"""Prompt states that outlive their process: what a model had in its memory after reading a prompt, for the next prompt that
begins alike.

A state is found by digests of all that it depends on (weights, numerics, every token and soft token before), so a stale one is
never found: it ages, and goes when the folder is full. It was made from people's reviews, so forgetting anybody deletes them all.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from depcli.errors import DepError
from depcli.system.atomic import atomically

FOLDER = Path("cache", "states")  # under the profiles folder
MOST_BYTES = 2 << 30
_FORMAT = 1


@dataclass(frozen=True)
class Found:
    """A kept state that begins with the first `shared` pieces of a prompt."""

    path: Path
    shared: int

    def load(self) -> np.ndarray | None:
        """The state (n,) uint8, None when the file is damaged or gone."""
        try:
            with self.path.open("rb") as file:
                wanted = json.loads(file.readline())["crc"]
                state = np.fromfile(file, np.uint8)
            os.utime(self.path)  # used: the last to go
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return state if zlib.crc32(state) == wanted else None


class KeptStates:
    """The states of one profiles folder. `unforgotten` is held while a state is written and says whether all whose reviews went
    into the prompts are still there. A folder that cannot be read or written costs time, never a review."""

    def __init__(self, folder: Path, unforgotten: Callable[[], AbstractContextManager[bool]]):
        self.folder, self._unforgotten, self._most = folder, unforgotten, MOST_BYTES

    def find(self, digests: Sequence[bytes], at_least: int) -> Found | None:
        """The state that shares the longest beginning with a prompt (digests of its pieces), `at_least` so many pieces and never
        the last, which makes the logits."""
        wanted = [digest.hex() for digest in digests[:-1]]
        found = [Found(path, alike(wanted, there)) for path, there in self._kept(digests)]
        best = max(found, key=lambda each: each.shared, default=None)
        return best if best and best.shared >= at_least else None

    def keep(self, digests: Sequence[bytes], state: Callable[[], np.ndarray]) -> None:
        """Keep what `state()` gives, unless somebody was forgotten meanwhile or it is larger than the folder may be."""
        data = state()
        told = {"format": _FORMAT, "digests": [digest.hex() for digest in digests], "crc": zlib.crc32(data)}
        header = json.dumps(told).encode() + b"\n"
        size = len(header) + data.nbytes
        if size > self._most:
            return
        try:
            with self._unforgotten() as allowed:
                if not allowed:
                    return
                self.folder.mkdir(mode=0o700, exist_ok=True)
                self._make_room(size)
                with atomically(self.folder / _name(digests)) as file:
                    file.write(header)
                    file.write(memoryview(data))
        except (OSError, DepError):
            return

    def _kept(self, digests: Sequence[bytes]) -> Iterator[tuple[Path, list]]:
        """The states that may begin alike, with the digests of their pieces in hexadecimal digits."""
        for path in self.folder.glob(f"{_first(digests)}-*.state"):
            try:
                with path.open("rb") as file:
                    header = json.loads(file.readline(1 << 20))
                if header["format"] == _FORMAT:
                    yield path, list(header["digests"])
            except (OSError, ValueError, KeyError, TypeError):
                continue

    def _make_room(self, size: int) -> None:
        """Delete what a killed process left, and what was used longest ago until `size` more bytes fit."""
        there = [(path.suffix == ".state", path.stat().st_mtime, path.stat().st_size, path) for path in self.folder.iterdir()]
        total = size + sum(length for _, _, length, _ in there)
        for whole, _, length, path in sorted(there):
            if total > self._most or not whole:
                path.unlink(missing_ok=True)
                total -= length


def forget(profiles: Path) -> None:
    """Delete every state. Nobody may be keeping one meanwhile: see `KeptStates`. Raises DepError."""
    folder = profiles / FOLDER
    try:
        if folder.is_symlink():  # to another disk: the place stays, and what is not ours
            for path in folder.glob("*.state*"):
                path.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise DepError(f"cannot delete {folder}: {error.strerror or error}", "delete it yourself, then forget again") from error


def _first(digests: Sequence[bytes]) -> str:
    return digests[0].hex()[:16]


def _name(digests: Sequence[bytes]) -> str:
    return f"{_first(digests)}-{digests[-1].hex()[:16]}.state"


def alike(one: Sequence, other: Sequence) -> int:
    """How many elements at the beginning are the same."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
