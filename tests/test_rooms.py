"""Who knows whom among the folders of depcli/: knowing goes one way."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import depcli

ROOT = Path(depcli.__file__).parent
ALONE = {"store", "embedders", "adapters", "engines"}  # none of them knows another of them


def imported(source: str) -> set[str]:
    """What a module imports of depcli/, also within its functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        assert not getattr(node, "level", 0), "an import that does not name its room"
        if isinstance(node, ast.ImportFrom) and node.module == "depcli":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found |= {name.split(".")[1] for name in names if name.startswith("depcli.")}
    return found


def rooms() -> dict[str, set[str]]:
    known = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        known[room] |= imported(path.read_text()) - {room, "__version__"}
    return known


def test_knowing_goes_one_way():
    known = rooms()
    assert len(list(TopologicalSorter(known).static_order())) >= len(known) > 15  # raises CycleError
    assert {room for room, others in known.items() if "cli" in others} == {"__main__"}
    assert not known["errors"] | known["records"] and known["system"] == {"errors"}
    assert {room for room, others in known.items() if "actions" in others} == {"cli", "demo"}
    for room in ALONE:
        assert known[room].isdisjoint(ALONE - {room}), room
