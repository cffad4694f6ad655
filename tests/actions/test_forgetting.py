"""`dep forget` from the command line: what goes, what is asked, and what is said to be beyond reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from depcli.adapters import seen
from depcli.cli import main
from depcli.evaluation import predictions
from depcli.profiles import kept_states
from depcli.store import Store
from depcli.store.upkeep import erase
from depcli.training.place import alone
from tests.store.made import IDENTITY, contents, some_reviews, upsert


@pytest.fixture
def place(tmp_path) -> str:
    """A profiles folder with a store, three adapters (one trained on user1, one on others, one without the record of whom), an
    unfinished one, and an evaluation about user2 and item4."""
    profiles = tmp_path / "profiles"
    store = Store.create(profiles, IDENTITY)
    upsert(store, some_reviews()[:40], source="first.jsonl")
    upsert(store, some_reviews()[40:], source="more/second.jsonl")
    config = {
        "format": 1,
        "type": "dep",
        "shape": {},
        "backbone": {"name": "made", "revision": "", "hidden_size": 1},
        "embedder": asdict(IDENTITY),
        "split": {"name": "leave-last-out", "digest": ""},
        "validation_losses": {},
        "weights_sha256": "",
        "template": "t",
        "history": 8,
        "max_input_tokens": 1,
        "store_commit": store.log()[1].id,
        "targets_per_user": 1,
        "choices": {"retrieval": "recency"},
        "min_peers": 1,
        "as_of": None,
        "reduction": "pca",
        "best_epoch": 0,
        "validations": [],
        "limit": None,
        "epochs": 1,
        "batch_size": 16,
        "select_by": "loss",
        "seed": 0,
        "learning_rate": 0.01,
        "max_target_tokens": 1,
    }
    for name, record in (("of-user1", ["user1", "user9"]), ("of-others", ["user0"]), ("torn", None)):
        folder = profiles / "adapters" / name
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(
            json.dumps(config if record is None else {**config, "seen_users": seen.record(record)})
        )
    (profiles / "adapters" / "half" / "checkpoints").mkdir(parents=True)
    for name, lines in (("about", '{"user_id": "user2", "asin": "item4"}\n'), ("damaged", "not JSON\n"), ("empty", "")):
        folder = profiles / "evaluations" / name
        folder.mkdir(parents=True)
        (folder / "predictions.jsonl").write_text(lines)
    return str(profiles)


def forget(capsys, place: str, *arguments: str) -> dict:
    capsys.readouterr()
    assert main(["forget", *arguments, "--yes", "--json", "--profiles", place]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_names_what_it_cannot_reach(place, capsys):
    document = forget(capsys, place, "--user", "user1")
    assert document["reviews_removed"] == 6 and document["commits_dropped"] == 3
    assert document["beyond_reach"] == {
        "inputs": ["first.jsonl", "more/second.jsonl"],
        "adapters": ["of-user1"],
        "adapters_unknown": ["half (unfinished)", "torn"],
        "adapters_under_way": [],
        "evaluations": [],
        "evaluations_unknown": ["evaluations/damaged"],
        "evaluations_under_way": [],
    }
    document = forget(capsys, place, "--user", "user2")
    assert document["beyond_reach"]["adapters"] == [] and document["beyond_reach"]["evaluations"] == ["evaluations/about"]
    document = forget(capsys, place, "--item", "item4")  # user0 and user9 reviewed it
    assert document["beyond_reach"]["adapters"] == ["of-others", "of-user1"]
    assert document["beyond_reach"]["evaluations"] == ["evaluations/about"]


def test_evaluations_that_a_link_leads_to_are_named(place, capsys, tmp_path):
    shutil.move(Path(place, "evaluations", "about"), tmp_path / "elsewhere")
    Path(place, "evaluations", "linked").symlink_to(tmp_path / "elsewhere")
    for name, target in (("up", ".."), ("here", ".")):  # they lead back
        Path(place, "evaluations", name).symlink_to(target)
    assert forget(capsys, place, "--user", "user2")["beyond_reach"]["evaluations"] == ["evaluations/linked"]


def test_it_names_who_may_have_them_in_memory(place, capsys):
    settings = {"settings": "of an evaluation that has written nothing yet"}

    @alone
    def train(*, folder) -> dict:
        with predictions.claimed(Path(place, "evaluations", "new"), settings):
            return forget(capsys, place, "--user", "user1")["beyond_reach"]

    beyond = train(folder=Path(place, "adapters", "new"))
    assert (beyond["adapters_under_way"], beyond["evaluations_under_way"]) == (["new"], ["evaluations/new"])
    beyond = forget(capsys, place, "--user", "user2")["beyond_reach"]  # the locks are still there, and nobody holds them
    assert (beyond["adapters_under_way"], beyond["evaluations_under_way"]) == ([], [])


def test_a_training_that_ends_while_it_looks_is_named(place, capsys):
    """It begins to look at the evaluations, of which one is a pipe, while the training is under way, and is done after."""
    pipe = Path(place, "evaluations", "pipe", "predictions.jsonl")
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    begun, looking = Event(), []

    @alone
    def train(*, folder) -> None:
        begun.set()
        looking.append(open(pipe, "w"))  # once somebody reads it
        shutil.copy(Path(place, "adapters", "of-user1", "adapter_config.json"), folder)

    def train_and_let_go() -> None:
        train(folder=Path(place, "adapters", "new"))
        looking.pop().close()

    beside = Thread(target=train_and_let_go, daemon=True)
    beside.start()
    assert begun.wait(60)
    beyond = forget(capsys, place, "--user", "user1")["beyond_reach"]
    beside.join()
    assert "new" in beyond["adapters"] + beyond["adapters_under_way"]


def test_states_of_prompts_go_with_anybody_and_none_comes_back(place, capsys):
    """Whoever it was: their words may stand in anybody's prompt. A process that read its prompt before keeps nothing after."""
    store = Store.open(place)
    before = kept_states(store, store.snapshot())
    before.keep([b"one", b"two"], lambda: np.ones(9, np.uint8))
    assert before.find([b"one", b"other"], 1) is not None
    forget(capsys, place, "--user", "user3")
    assert not before.folder.exists()
    before.keep([b"one", b"two"], lambda: np.ones(9, np.uint8))
    assert not before.folder.exists()
    after = kept_states(store, Store.open(place).snapshot())
    after.keep([b"one", b"two"], lambda: np.ones(9, np.uint8))
    assert after.find([b"one", b"other"], 1).load().tolist() == [1] * 9


def test_several_users_and_items_are_counted_once(place, capsys):
    wanted = [r for r in some_reviews() if r.user_id in ("user1", "user2") or r.asin in ("item2", "item4")]
    options = ["--user", "user1", "--user", "user2", "--user", "user1", "--item", "item2", "--item", "item4"]
    assert main(["forget", *options, "--profiles", place]) == 1  # nobody sits here to be asked
    assert "--yes" in capsys.readouterr().err
    document = forget(capsys, place, *options)
    assert document["reviews_removed"] == len(wanted) and document["users"] == ["user1", "user2"]
    left = Store.open(place).snapshot()
    assert left.counts()["reviews"] == len(some_reviews()) - len(wanted)
    assert main(["forget", "--user", "user0", "--yes", "--profiles", place]) == 0
    captured = capsys.readouterr()
    assert "erased: " in captured.out and "does not tell whom it was trained on" in captured.out
    assert f"{len({r.asin for r in some_reviews() if r.user_id == 'user0'} - {'item2', 'item4'})} reviews" in captured.err


@pytest.mark.parametrize("options", [["--user", "nobody"], ["--item", "nothing"], ["--user", "user1", "--user", "\udcff"]])
def test_who_is_not_there_is_an_error_and_nobody_goes(place, capsys, options):
    before = contents(Store.open(place).snapshot())
    assert main(["forget", *options, "--yes", "--profiles", place]) == 3
    captured = capsys.readouterr()
    assert captured.out == "" and "the store has no" in captured.err and "nothing was removed" in captured.err
    assert contents(Store.open(place).snapshot()) == before


def test_nothing_asked_for_is_a_mistake(place, capsys):
    assert main(["forget", "--profiles", place]) == 2
    assert "--user" in capsys.readouterr().err


def test_the_same_command_finishes_what_was_killed(place, tmp_path, capsys):
    numbers = {n: shutil.copytree(place, tmp_path / str(n)) for n in (16, 17)}  # at the end: only bytes are left to remove
    command = [sys.executable, "-m", "tests.store.killed", "--forget", "user1", *(f"{n}={path}" for n, path in numbers.items())]
    assert subprocess.run(command, capture_output=True, text=True).stdout.split() == ["-9", "-9"]
    for path in numbers.values():
        assert erase.unfinished(path / "store") and not Store.open(path).snapshot().has_user("user1")
        document = forget(capsys, str(path), "--user", "user1")
        assert document["finished_earlier"] and document["reviews_removed"] == 0
        assert not erase.unfinished(path / "store")
        assert main(["forget", "--user", "user1", "--yes", "--profiles", str(path)]) == 3


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0)])
def test_a_person_at_a_terminal_is_asked(place, answer, code):
    master, slave = os.openpty()
    source = "import sys; from depcli.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", source, "forget", "--user", "user1", "--profiles", place]
    with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        os.write(master, answer)
        out = process.stdout.read()
        said = os.read(master, 65536).decode()
    os.close(master)
    assert process.returncode == code and "Erase 6 reviews by 1 user" in said
    assert Store.open(place).snapshot().has_user("user1") == (code == 1) and (out == b"") == (code == 1)


def test_commits_of_adapters_are_not_compacted_away(place, capsys):
    shutil.rmtree(os.path.join(place, "adapters", "half"))
    for days, dropped in (("0.0000001", 1), ("0", 3)):
        assert main(["compact", "--keep", days, "--profiles", place, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["dropped"] == dropped and document["bytes_after"] > 0
    assert document["readable"] == 1
    assert main(["compact", "--keep", "-1", "--profiles", place]) == 2
