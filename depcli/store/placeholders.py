"""Imports with a package left out that is never used: its names are empty classes, and it is not loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec


class _Placeholders(MetaPathFinder, Loader):
    def __init__(self, package: str):
        self._package, self._classes = package, {}

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] == self._package else None

    def exec_module(self, module):
        module.__getattr__ = self._class

    def _class(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._classes.setdefault(name, type(name, (), {}))


@contextmanager
def without(package: str, *users: str) -> Iterator[None]:
    """What is imported meanwhile gets placeholders for all that it takes from `package`, unless that is loaded already.
    Afterwards neither it nor the packages `users`, which took from it, are in sys.modules: others import them anew, and whole."""
    if package in sys.modules:
        yield
        return
    finder = _Placeholders(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in (package, *users)]:
            del sys.modules[name]
