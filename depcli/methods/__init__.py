"""The systems that turn a request into a Prompt: one file each, one registry.

A method says whether past reviews are shown and which soft tokens follow each of them; `personal.prompts` does the rest.
"""

from __future__ import annotations

from depcli.errors import NotFound
from depcli.methods import dep, nonperso, rag
from depcli.methods.base import Method

METHODS: dict[str, Method] = {method.name: method for method in (nonperso.METHOD, rag.METHOD, dep.METHOD)}


def find(name: str) -> Method:
    if name not in METHODS:
        raise NotFound(f"no method {name!r}", f"known: {', '.join(METHODS)}")
    return METHODS[name]
