"""Imports without a package that is not used: it is found once somebody else wants it, or other things stand for its names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec


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


class _NotYet(MetaPathFinder):
    def __init__(self, package: str, then: Callable[[], object]):
        self._package, self._then = package, then
        self.hiding, self._looking = True, False

    def find_spec(self, name, path=None, target=None):
        if name != self._package or self._looking:
            return None
        if self.hiding:
            raise ModuleNotFoundError(f"No module named {name!r} yet", name=name)
        self._looking = True
        try:
            spec = find_spec(name)
        finally:
            self._looking = False
        if spec and spec.loader:
            spec.loader.exec_module = partial(self._load, spec.loader.exec_module)
        return spec

    def _load(self, load: Callable, module) -> None:
        load(module)
        sys.meta_path.remove(self)
        self._then()


@contextmanager
def not_yet(package: str, then: Callable[[], object]) -> Iterator[None]:
    """Who imports `package` meanwhile does not find it, unless it is loaded already. `then` is called once somebody has loaded it
    afterwards."""
    if package in sys.modules:
        yield
        return
    finder = _NotYet(package, then)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.hiding = False


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
