"""The folder that an adapter is trained into."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from depcli.adapters import files
from depcli.errors import BadInput, DepError, NotFound
from depcli.training.options import TrainOptions
from depcli.training.place import unfinished_run
from depcli.training.run import train
from tests.personal.conftest import few_people, made_store

OPTIONS = TrainOptions(epochs=2, batch_size=4, history=3, max_target_tokens=60, validation_limit=6, targets_per_user=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("place"), *few_people(8))


def test_two_do_not_train_one_adapter_at_the_same_time(store, backbone, tmp_path):
    refused = []

    def train_beside(event):
        if "step" in event and not refused:
            for how in ({}, {"replace": True}, {"resume": True}):
                with pytest.raises(DepError, match="another process is training the adapter 'both'") as found:
                    train(store=store, backbone=backbone, folder=tmp_path / "both", options=OPTIONS, **how)
                refused.append(found.value.hint)

    report = train(store=store, backbone=backbone, folder=tmp_path / "both", options=OPTIONS, on_event=train_beside)
    assert len(refused) == 3 and all("--adapter" in hint for hint in refused)
    steps = [json.loads(line)["step"] for line in (report.folder / files.METRICS).read_text().splitlines()]
    assert steps == sorted(steps) and files.load(report.folder)


def test_a_file_in_the_way_of_adapters_is_said(store, backbone, tmp_path):
    (tmp_path / "adapters").write_bytes(b"")
    with pytest.raises(DepError, match="no adapter can be trained in .*: Not a directory"):
        train(store=store, backbone=backbone, folder=tmp_path / "adapters" / "mine", options=OPTIONS)


def test_of_a_training_that_is_refused_no_folder_is_left(store, backbone, tmp_path):
    with pytest.raises(BadInput, match="leave no room"):
        train(store=store, backbone=backbone, folder=tmp_path / "no", options=replace(OPTIONS, max_input_tokens=2048))
    with pytest.raises(NotFound, match="no unfinished run"):
        train(store=store, backbone=backbone, folder=tmp_path / "no", options=OPTIONS, resume=True)
    assert not (tmp_path / "no").exists()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("mine")
    with pytest.raises(BadInput):
        train(store=store, backbone=backbone, folder=tmp_path / "kept", options=replace(OPTIONS, max_input_tokens=2048))
    assert (tmp_path / "kept" / "notes.txt").read_text() == "mine"


def test_the_only_run_that_was_interrupted_goes_on_where_nothing_is_named(tmp_path):
    def interrupted(name: str) -> None:
        (tmp_path / "adapters" / name / files.CHECKPOINTS).mkdir(parents=True)

    with pytest.raises(NotFound) as error:
        unfinished_run(tmp_path, "mini", named=False)
    assert error.value.hint == "leave --resume out to start one"
    interrupted("mine")
    assert unfinished_run(tmp_path, "mini", named=False) == "mine"
    with pytest.raises(NotFound) as error:
        unfinished_run(tmp_path, "mini", named=True)
    assert error.value.hint == "unfinished here: mine; name one with --adapter"
    interrupted("other")
    with pytest.raises(NotFound, match="no unfinished run in .*mini") as error:
        unfinished_run(tmp_path, "mini", named=False)
    assert "mine, other" in error.value.hint
    interrupted("mini")
    assert unfinished_run(tmp_path, "mini", named=False) == "mini"
