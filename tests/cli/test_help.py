from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

from depcli.cli.group import COMMANDS, dep

HEAVY = ("torch", "transformers", "lancedb", "pyarrow", "numpy", "vllm", "llama_cpp", "FlagEmbedding", "nltk", "huggingface_hub")
_LOOK = """
import sys
from depcli.cli import main
for arguments in {calls}:
    assert main([*arguments, "--help"]) == 0, arguments
heavy = sorted(set({forbidden}) & set(sys.modules))
sys.exit("imported: " + ", ".join(heavy) if heavy else 0)
"""


def command(name: str) -> click.Command:
    return dep.get_command(click.Context(dep), name)


def run_help(calls, forbidden):
    source = _LOOK.format(calls=calls, forbidden=forbidden)
    return subprocess.run([sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, check=False)


def test_help_of_every_command_imports_nothing_heavy():
    done = run_help([[name] for name in COMMANDS], HEAVY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: dep ") == len(COMMANDS)


def test_dep_help_imports_no_command_and_no_rich():
    own = [f"depcli.cli.commands.{entry.module}" for entry in COMMANDS.values()]
    done = run_help([[]], [*HEAVY, "rich", "jinja2", *own])
    assert done.returncode == 0, done.stderr
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_its_options_understand(name):
    found = command(name)
    examples = re.findall(rf"^\s*.*\bdep {name}\b(.*)$", found.help.partition("Examples:")[2], re.MULTILINE)
    assert len(examples) >= 2
    known = {option for parameter in found.params for option in parameter.opts}
    for example in examples:
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", example)) <= known, example


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_shared_options(name):
    known = {option for parameter in command(name).params for option in parameter.opts}
    assert {"--json", "--profiles", "--offline", "--quiet", "-q", "--no-progress"} <= known


def test_method_names_on_the_command_line_are_those_of_the_registry():
    from depcli.cli.commands.evaluate import _Methods
    from depcli.engines import NAMES
    from depcli.methods import METHODS

    def choices(name: str, option: str) -> tuple[str, ...]:
        (found,) = (one.type.choices for one in command(name).params if one.name == option)
        return tuple(found)

    assert choices("write", "method") == tuple(_Methods.known) == tuple(METHODS)
    assert set(choices("train", "method")) == {name for name, method in METHODS.items() if method.needs_adapter}
    assert choices("show", "profile") == tuple(name for name, method in METHODS.items() if method.profile)
    assert set(choices("write", "engine")) == set(choices("eval", "engine")) == set(NAMES)
