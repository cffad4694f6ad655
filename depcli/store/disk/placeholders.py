"""Imports with a package left out that is never used: other things stand for its names, and it is not loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec


class _Placeholders(MetaPathFinder, Loader):
    def __init__(self, package: str, names: dict[str, object]):
        self._package, self._names = package, names

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] == self._package else None

    def exec_module(self, module):
        module.__getattr__ = self._standing_for

    def _standing_for(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._names.setdefault(name, type(name, (), {}))


@contextmanager
def without(package: str, *users: str, **names: object) -> Iterator[None]:
    """What is imported meanwhile gets other things for all that it takes from `package`, unless that is loaded already: what is
    given for these `names`, an empty class for any other. Afterwards neither it nor the packages `users`, which took from it, are
    in sys.modules: others import them anew, and whole."""
    if package in sys.modules:
        yield
        return
    finder = _Placeholders(package, names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in (package, *users)]:
            del sys.modules[name]
