"""The systems that turn a request into a Prompt: one file each, one registry.

A method says whether past reviews are shown, which soft tokens follow each of them or stand before the prompt, and whether an
analyst is asked for a profile of the user first; `personal.prompts` does the rest.
"""

from __future__ import annotations

from depcli.errors import NotFound
from depcli.methods import dep, dpl, drp, nonperso, outside, pag, pplug, rag, trained_prompt
from depcli.methods.base import Method

METHODS: dict[str, Method] = {
    module.METHOD.name: module.METHOD for module in (nonperso, rag, pag, dpl, drp, pplug, trained_prompt, dep)
}


def names() -> list[str]:
    """Every method there is: the bundled ones, then those of other packages."""
    return [*METHODS, *(name for name in outside.names() if name not in METHODS)]


def find(name: str) -> Method:
    """Raises NotFound for an unknown method, BadInput for one of another package that cannot be used."""
    if name in METHODS:
        return METHODS[name]
    if name not in outside.names():
        raise NotFound(f"no method {name!r}", f"known: {', '.join(names())}")
    return outside.load(name)
