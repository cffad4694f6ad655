"""A disk that loses power: of what a program wrote, only that survives for sure which it waited for with fsync.

What it did not wait for may have reached the disk or not, each file and each name for itself.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Disk:
    """Watches everything below `root` from now on, by way of os.fsync."""

    root: Path
    contents: dict[int, bytes] = field(default_factory=dict)  # by inode: what was waited for
    names: dict[Path, dict[str, int]] = field(default_factory=dict)  # of each folder that was waited for: name -> inode
    calls: int = 0

    def __post_init__(self):
        for folder, _, files in os.walk(self.root):
            self._keep_names(Path(folder))
            for name in files:
                self._keep_content(Path(folder, name))

    def fsync(self, descriptor: int) -> None:
        """In the place of os.fsync."""
        self.calls += 1
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            self._keep_names(path)
        else:
            self._keep_content(path)

    def _keep_names(self, folder: Path) -> None:
        self.names[folder] = {entry.name: entry.inode() for entry in os.scandir(folder)}

    def _keep_content(self, path: Path) -> None:
        self.contents[path.stat().st_ino] = path.read_bytes()

    def after_power_cut(self, target: Path, moments: random.Random | None = None) -> None:
        """What is there when the machine starts again. Without `moments` nothing survives that was not waited for; with them
        each new name, each removal and each content by chance, and some contents by half."""
        self._rebuild(self.root, target, moments)

    def _rebuild(self, folder: Path, target: Path, moments: random.Random | None) -> None:
        target.mkdir()
        now = {entry.name: entry.inode() for entry in os.scandir(folder)} if folder.is_dir() else {}
        kept = dict(self.names.get(folder, {}))
        for name in sorted({*now, *kept}):
            if moments is not None and now.get(name) != kept.get(name) and moments.random() < 0.5:
                kept[name] = now.get(name)
            if kept.get(name) is None:
                continue
            path = folder / name
            if path.is_dir() or path in self.names:
                self._rebuild(path, target / name, moments)
            else:
                (target / name).write_bytes(self._content(path, kept[name], moments))

    def _content(self, path: Path, inode: int, moments: random.Random | None) -> bytes:
        kept = self.contents.get(inode, b"")
        if moments is None or not path.exists() or path.stat().st_ino != inode:
            return kept
        now = path.read_bytes()
        return moments.choice([kept, now, now[: len(now) // 2]]) if now != kept else kept
