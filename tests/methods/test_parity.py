"""PAG, DPL and DRP with the bundled backbone as analyst and writer: every step runs, and both local engines write the same."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from depcli import backbones, engines
from depcli.actions.writing import find_request, make_writer
from depcli.analysts.choose import analyst
from depcli.demo.world import world
from depcli.records import Sampling
from tests.personal.conftest import made_store

GREEDY = Sampling(temperature=0, max_new_tokens=24)


def write(folder, engine_name: str, method: str) -> dict:
    """One greedy review, in a store folder of its own: nothing is found in another engine's cache."""
    store = made_store(folder, *world())
    snapshot, mini = store.snapshot(), backbones.find("mini")
    with (
        engines.load(engine_name, mini, exact=True) as engine,
        analyst(None, engine, mini, GREEDY) as asked,
    ):
        writer = make_writer(
            store=store,
            snapshot=snapshot,
            method=method,
            backbone=mini,
            engine=engine,
            history=1,
            analyst=asked,
        )
        request = find_request(snapshot, snapshot.user_ids()[0], "new", item_title="A lamp")
        (written,) = writer.write([request], GREEDY)
        profile = asdict(written.prompt.profile)
        profile["analysis"].pop("seconds")
        return {"text": written.completion.text, "profile": profile, "prompt": written.prompt.render()}


def check(tmp_path, method: str) -> dict:
    one, other = (write(tmp_path / name, name, method) for name in ("llamacpp", "transformers"))
    assert one == other
    assert one["profile"]["text"] and one["profile"]["text"][:40] in one["prompt"]
    return one["profile"]


def test_pag(tmp_path):
    profile = check(tmp_path, "pag")
    assert profile["analysis"]["calls"] == 1 and profile["analysis"]["failures"] == {}


@pytest.mark.slow
def test_dpl(tmp_path):
    profile = check(tmp_path, "dpl")
    assert profile["anchors"] == 1 and len(profile["differences"]) == 1 and profile["analysis"]["calls"] == 2


@pytest.mark.slow
def test_drp(tmp_path):
    profile = check(tmp_path, "drp")
    assert profile["anchors"] == 1 and profile["analysis"]["calls"] >= 3
    assert profile["analysis"]["failures"].keys() <= {"empty text"}  # the schema leaves no broken JSON
