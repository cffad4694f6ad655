"""Methods from other packages: each is one object of type Method, named by an entry point of the group `depcli.methods`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from depcli.errors import BadInput
from depcli.methods.base import Method

GROUP = "depcli.methods"


def names() -> list[str]:
    """Those that are installed, sorted; nothing of theirs is run."""
    return sorted({found.name for found in entry_points(group=GROUP)})


def load(name: str) -> Method:
    """The method of this name. Raises BadInput when it cannot be imported or is not one."""
    (found, *_) = entry_points(group=GROUP, name=name)
    try:
        method = found.load()
    except Exception as error:  # whatever goes wrong in there is theirs
        raise _broken(found, f"{type(error).__name__}: {error}") from error
    if not isinstance(method, Method) or method.name != name:
        raise _broken(found, f"it is not a Method of that name, but {method!r}")
    return method


def _broken(found: EntryPoint, why: str) -> BadInput:
    package = found.dist.name if found.dist else "some package"
    return BadInput(f"the method {found.name!r} of {package} ({found.value}) cannot be used: {why}", f"mend or remove {package}")
