"""A method that another package brings: one file and one line of its metadata."""

from __future__ import annotations

import json

import pytest

from depcli import methods
from depcli.cli import main
from depcli.errors import BadInput, NotFound

TOY = """
from depcli.methods.base import Method

METHOD = Method("toy", "past reviews, newest last", history=True)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package with one file and one entry point."""

    def install(source: str, name: str = "toy") -> None:
        (tmp_path / "site" / "toy_methods-1.dist-info").mkdir(parents=True)
        (tmp_path / "site" / f"{name}_of_theirs.py").write_text(source)
        info = tmp_path / "site" / "toy_methods-1.dist-info"
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-methods\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[depcli.methods]\n{name} = {name}_of_theirs:METHOD\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    return install


def listed(capsys) -> dict[str, dict]:
    capsys.readouterr()
    assert main(["methods", "--json"]) == 0
    return {one["name"]: one for one in json.loads(capsys.readouterr().out)["methods"]}


def test_it_is_found_and_listed(package, capsys):
    with pytest.raises(NotFound, match="no method 'toy'"):
        methods.find("toy")
    assert "toy" not in listed(capsys)
    package(TOY)
    assert methods.find("toy").summary == "past reviews, newest last" and methods.names()[-1] == "toy"
    assert listed(capsys)["toy"]["bundled"] is False
    assert main(["write", "--user", "u", "--item", "i", "--method", "toy"]) == 3  # known, and there is no store
    assert main(["write", "--user", "u", "--item", "i", "--method", "boy"]) == 2


def test_one_that_is_broken_is_named_when_it_is_asked_for(package):
    package("import nowhere_at_all", "broken")
    assert methods.find("rag").name == "rag"
    with pytest.raises(BadInput, match="'broken' of toy-methods .*nowhere_at_all"):
        methods.find("broken")


def test_one_that_takes_a_bundled_name_is_not_used(package):
    package(TOY.replace("toy", "rag"), "rag")
    assert methods.find("rag") is methods.METHODS["rag"] and methods.names().count("rag") == 1


def test_what_the_bundled_ones_need(capsys):
    needs = {name: one["needs"] for name, one in listed(capsys).items()}
    assert list(needs) == ["nonperso", "rag", "pag", "dpl", "drp", "pplug", "trained-prompt", "dep"]
    assert needs["rag"] == [] and needs["dep"] == ["an adapter"] and needs["pplug"] == ["an adapter", "the embedder"]
    assert needs["drp"] == ["an analyst", "peers"]
