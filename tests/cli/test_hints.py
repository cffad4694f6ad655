"""What errors, notes and help tell people to type is there to be typed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

import depcli
from depcli.cli.group import COMMANDS, dep

SOURCES = sorted(Path(depcli.__file__).parent.rglob("*.py"))
# `dep train --backbone X, or ...`: a command and what is said after it, up to the end of the sentence or the next command
_COMMAND = re.compile(r"\bdep (" + "|".join(COMMANDS) + r")\b((?:(?!\bdep |[`;:)]).)*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def options_of(name: str) -> set[str]:
    command = dep.get_command(click.Context(dep), name)
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def texts(source: Path) -> list[str]:
    """The string literals of a file, f-strings with their holes closed up."""
    found = []
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_options_named_after_a_command_are_its_own(name):
    known = options_of(name)
    for source in SOURCES:
        for text in texts(source):
            for command, rest in _COMMAND.findall(text):
                if command == name:
                    assert set(_OPTION.findall(rest)) <= known, f"{source.name}: {text!r}"


def test_options_named_alone_belong_to_some_command():
    known = set.union(*map(options_of, COMMANDS)) | {"--upgrade", "--nproc-per-node"}  # of pip and torchrun
    ours = [source for source in SOURCES if "__main__" not in source.read_text(encoding="utf-8")]  # scripts have their own
    named = {(option, source.name) for source in ours for text in texts(source) for option in _OPTION.findall(text)}
    assert len(named) > 50
    assert sorted(pair for pair in named if pair[0] not in known) == []
