"""Two real processes, started by torchrun, against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from depcli import backbones
from depcli.adapters import files
from depcli.training import checkpoints
from depcli.training.options import TrainOptions
from depcli.training.run import train
from depcli.training.workers import Workers
from tests.personal.conftest import few_people, made_store

EPOCHS = 2
OPTIONS = TrainOptions(epochs=EPOCHS, batch_size=3, history=3, patience=2, reduction="sae", targets_per_user=1)
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_shares_are_disjoint_whole_and_even():
    costs = [50, 3, 8, 8, 21, 34, 1, 13, 5, 2]
    shares = [Workers(rank, 3).share(costs) for rank in range(3)]
    assert sorted(i for share in shares for i in share) == list(range(len(costs)))
    loads = [sum(costs[i] for i in share) for share in shares]
    assert max(loads) <= max(50, sum(costs) / 3 + 3)
    assert Workers().share(costs) == list(range(len(costs)))
    assert [Workers(rank, 3).share([7]) for rank in range(3)] == [[0], [], []]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("workers"), *few_people(8))


@pytest.fixture(scope="module")
def alone(store, compact_backbone):
    """Metrics of the same training in one process."""
    folder = files.folder_of(store.path, "alone")
    train(store=store, backbone=backbones.find(str(compact_backbone)), folder=folder, options=OPTIONS)
    return folder


def two_workers(
    store, backbone, name: str, *more: str, program: tuple[str, ...] = ("-m", "depcli")
) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *program, "train"]
    options = {
        "--profiles": store.path,
        "--backbone": backbone,
        "--adapter": name,
        "--device": "cpu",
        "--epochs": EPOCHS,
        "--batch-size": OPTIONS.batch_size,
        "--history": OPTIONS.history,
        "--reduction": OPTIONS.reduction,
        "--targets-per-user": OPTIONS.targets_per_user,
    }
    return subprocess.run(
        [*command, *(str(word) for pair in options.items() for word in pair), *more, "--json"],
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=500,
    )


def steps(folder: Path) -> list[tuple]:
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(event["step"], event["loss"]) for event in map(json.loads, lines) if "loss" in event]


def validations(folder: Path) -> list[float]:
    events = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [event["validation_loss"] for event in events if "validation_loss" in event]


def assert_same_curve(folder: Path, other: Path):
    assert [step for step, _ in steps(folder)] == [step for step, _ in steps(other)]
    assert [loss for _, loss in steps(folder)] == pytest.approx([loss for _, loss in steps(other)], rel=1e-4)
    assert validations(folder) == pytest.approx(validations(other), rel=1e-4)


@pytest.mark.timeout(600)
def test_two_workers_have_the_loss_curve_of_one(store, compact_backbone, alone):
    done = two_workers(store, compact_backbone, "two")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["adapter"] == "two"  # one document: the first one speaks
    assert done.stderr.count("reviews to learn") == 1
    folder = files.folder_of(store.path, "two")
    assert len(steps(folder)) == 6
    assert_same_curve(folder, alone)
    assert not checkpoints.exists(folder)


def kill_one_of_two(store, backbone, name: str, odd: str) -> tuple[Path, str]:
    """(folder, stderr) of a training whose second worker was killed in its fifth step."""
    done = two_workers(store, backbone, name, program=(str(HERE / "odd_workers.py"), odd))
    assert done.returncode != 0
    assert "go on with" in done.stderr and "--resume" in done.stderr, done.stderr
    folder = files.folder_of(store.path, name)
    # Where the first one is a moment behind, the end of the second takes what it had sent of the fourth step's sums with it.
    assert torch.load(checkpoints.path_of(folder), weights_only=True)["progress"]["step"] in (3, 4)
    return folder, done.stderr


@pytest.mark.timeout(600)
def test_a_killed_worker_ends_the_training_which_one_alone_resumes(store, compact_backbone, alone):
    folder, said = kill_one_of_two(store, compact_backbone, "killed", "dying")
    assert "spread over" not in said
    train(store=store, backbone=backbones.find(str(compact_backbone)), folder=folder, options=OPTIONS, resume=True)
    assert_same_curve(folder, alone)


@pytest.mark.timeout(600)
def test_a_backbone_that_fits_no_device_is_spread_over_the_workers(store, compact_backbone, alone):
    """And goes on so where it would fit, when that is asked for."""
    folder, said = kill_one_of_two(store, compact_backbone, "spread", "small+dying")
    assert "spread over 2 workers" in said and "has 0 MiB free" in said, said
    done = two_workers(store, compact_backbone, "spread", "--resume", "--shard-backbone")
    assert done.returncode == 0, done.stderr
    assert "spread over 2 workers, 0 MiB with each: --shard-backbone" in done.stderr, done.stderr
    assert_same_curve(folder, alone)
    digests = [json.loads((made / files.CONFIG).read_text())["backbone_weights_sha256"] for made in (folder, alone)]
    assert digests[0] == digests[1]
