"""The systems that turn a request into a Prompt: one file each, one registry.

A method says whether past reviews are shown, which soft tokens follow each of them, and whether an analyst is asked for a profile
of the user first; `personal.prompts` does the rest.
"""

from __future__ import annotations

from depcli.errors import NotFound
from depcli.methods import dep, dpl, drp, nonperso, pag, rag
from depcli.methods.base import Method

METHODS: dict[str, Method] = {
    module.METHOD.name: module.METHOD for module in (nonperso, rag, pag, dpl, drp, dep)
}  # fmt: skip


def find(name: str) -> Method:
    if name not in METHODS:
        raise NotFound(f"no method {name!r}", f"known: {', '.join(METHODS)}")
    return METHODS[name]
