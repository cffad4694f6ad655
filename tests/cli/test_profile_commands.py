"""Profiles at the command line: made by dep write, shown by dep show, gone with dep forget."""

from __future__ import annotations

import json

import pytest

from depcli.analysts.cache import FOLDER
from depcli.cli import main
from depcli.demo.world import world
from tests.personal.conftest import made_store


@pytest.fixture
def profiles(tmp_path):
    reviews, items = world()
    return made_store(tmp_path / "profiles", reviews, items).folder.parent


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


WRITE = ("write", "--user", "nana_petrov", "--item", "film-01", "--method", "pag", "--max-new-tokens", "6")


def test_made_once_shown_and_forgotten(profiles, capsys):
    code, out, err = run(capsys, "show", "--user", "nana_petrov", "--profile", "pag")
    assert code == 3 and "has made no profile" in err and "dep write" in err
    code, out, err = run(capsys, *WRITE, "--json")
    document = json.loads(out)
    assert code == 0 and "llamacpp:mini makes a profile from" in err and "profile: 1 call," in err
    assert document["analyst"] == "llamacpp:mini" and document["profile"]["text"] and not document["profile"]["reused"]
    code, out, err = run(capsys, *WRITE, "--seed", "1", "--json")
    again = json.loads(out)["profile"]
    assert "makes a profile" not in err and again["reused"] and again["text"] == document["profile"]["text"]
    code, out, err = run(capsys, "show", "--user", "nana_petrov", "--profile", "pag")
    assert code == 0 and document["profile"]["text"].split()[0] in out and "llamacpp:mini" in out
    code, out, err = run(capsys, "show", "--user", "nana_petrov", "--profile", "pag", "--json")
    assert json.loads(out)["profiles"][0]["profile"]["text"] == document["profile"]["text"]
    assert run(capsys, "forget", "--user", "nana_petrov", "--yes")[0] == 0
    assert list((profiles / FOLDER).iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((*WRITE, "--method", "rag", "--analyst", "llamacpp:mini"), 2, "--analyst is for"),
        ((*WRITE, "--analyst", "mini"), 2, "ENGINE:MODEL"),
        ((*WRITE, "--analyst", "llamacpp:nowhere-at-all"), 3, "no backbone"),
        (("show", "--item", "film-01", "--profile", "drp"), 2, "--profile needs --user"),
        (("show", "--user", "nobody", "--profile", "drp"), 3, "no user"),
    ],
)
def test_what_is_refused(profiles, capsys, arguments, code, said):
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "") and said in err


def test_one_of_a_thing_is_no_plural():
    from depcli.cli.options.analyst import cost

    made = {"calls": 1, "prompt_tokens": 9, "generated_tokens": 3, "seconds": 0.5, "failures": {}, "dropped": 1}
    assert cost(made) == "1 call, 9 tokens read, 3 written, 0.5 s; 1 question without an answer"
    assert cost({**made, "calls": 2, "dropped": 0}) == "2 calls, 9 tokens read, 3 written, 0.5 s"
