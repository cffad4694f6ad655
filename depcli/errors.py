"""What can go wrong, what to do about it, and the exit code a shell sees. Everything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

DONE, FAILURE, USAGE, NOT_FOUND, MISSING, BAD_DATA, OFFLINE = range(7)
BUG, INTERRUPTED = 70, 130


class DepError(Exception):
    """An expected failure: a message that says what and where, and a hint that mends it."""

    exit_code = FAILURE

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message, self.hint = message, hint


class NotFound(DepError):
    """A user, item, adapter or store that is not there."""

    exit_code = NOT_FOUND


class Unknown(NotFound):
    """A user or item that the store does not know: the fault of one request, unlike a store that is gone."""


class Unnamed(DepError):
    """Several things fit, and none was named."""

    exit_code = USAGE


class MissingDependency(DepError):
    """A package to install or a device that is not there."""

    exit_code = MISSING


class BadInput(DepError):
    """A file or record that cannot be used."""

    exit_code = BAD_DATA


class Refused(BadInput):
    """A request that an endpoint will not answer, as its filter of contents may have it: the first that is not answered yet."""


class NeedsNetwork(DepError):
    """Weights that are neither bundled nor cached, while offline."""

    exit_code = OFFLINE


class Incompatible(DepError):
    """Parts that do not belong together: expected, found, remedy."""


class StoreBusy(DepError):
    """Another process writes to the store."""


class Unbroken:
    """Entries up to where they break off, with what `error`: that is of none of them, and what came before it is to be used."""

    def __init__(self, entries: Iterable):
        self._entries = entries
        self.error: DepError | None = None

    def __iter__(self) -> Iterator:
        try:
            yield from self._entries
        except DepError as error:
            self.error = error
