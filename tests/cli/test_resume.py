"""`dep train --resume`: a run goes on with what it was begun with, whatever `dep train` does by itself meanwhile."""

from __future__ import annotations

import json

import pytest
import torch

from depcli.adapters import files
from depcli.cli import main
from depcli.errors import Incompatible
from depcli.personal.choices import Choices
from depcli.store import Store
from depcli.store.upkeep.compact import compact
from depcli.training import checkpoints
from depcli.training.loop import Loop
from depcli.training.options import TrainOptions, options_of
from tests.personal.conftest import few_people, made_store
from tests.store.made import upsert

EARLIER = ("--reduction", "sae", "--epochs", "5", "--targets-per-user", "1")  # what dep train once did by itself
QUICK = ("--epochs", "2", "--targets-per-user", "1", "--history", "2")
OWN = ("--batch-size", "3", "--history", "2", "--embeddings", "his", "--template", "compact-user-first", "--seed", "4")


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("resume") / "store", *few_people(6)).path


@pytest.fixture
def dep(profiles, compact_backbone, capsys, monkeypatch):
    def dep(*arguments: str, steps: int | None = None, backbone: str | None = str(compact_backbone)) -> tuple[int, dict, str]:
        """(exit code, document, stderr) of `dep train`, interrupted by Ctrl-C after so many `steps`."""
        left, step = steps, Loop._step

        def counted(self, batch):
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left = left and left - 1
            return step(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_step", counted)
            where = ["--profiles", str(profiles), "--device", "cpu", *(["--backbone", backbone] if backbone else [])]
            code = main(["train", *where, *arguments, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return dep


def test_a_run_begun_under_other_defaults_goes_on_under_its_own(dep, profiles):
    code, whole, err = dep(*EARLIER, *OWN, "--adapter", "whole")
    assert code == 0, err
    code, _, err = dep(*EARLIER, *OWN, "--adapter", "cut", steps=3)
    assert code == 130 and "--resume" in err
    newcomers, items = few_people(7)
    with Store.open(profiles).writer() as writer:  # and the store grows
        vectors = torch.nn.functional.normalize(torch.ones(len(newcomers), Store.open(profiles).embedder.dimension)).numpy()
        writer.upsert(newcomers, vectors, items, source="test")

    code, _, err = dep("--adapter", "cut", "--resume", "--epochs", "2", "--no-review-text")
    assert code == 1 and "choices.review_text: expected true, found false; epochs: expected 5, found 2)" in err
    code, _, err = dep("--adapter", "cut", "--resume", "--method", "trained-prompt")
    assert code == 1 and 'method: expected "dep", found "trained-prompt"' in err
    code, resumed, err = dep("--adapter", "cut", "--resume", backbone=None)  # which has no name to be found by
    assert code == 0 and "going on after step 3" in err, err
    same = ("reduction", "epochs", "targets_per_user", "batch_size", "history", "choices", "template", "seed", "store_commit")
    assert [resumed["config"][name] for name in same] == [whole["config"][name] for name in same]
    first, second = (files.load(profiles / "adapters" / name)[0].state_dict() for name in ("whole", "cut"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_method_is_part_of_what_a_run_was_begun_with(dep, profiles):
    assert dep("--method", "trained-prompt", "--adapter", "mine", *QUICK, steps=1)[0] == 130
    code, resumed, err = dep("--adapter", "mine", "--resume")
    assert code == 0, err
    assert resumed["method"] == files.load(profiles / "adapters" / "mine")[0].type == "trained-prompt"
    code, _, err = dep("--adapter", "mine", "--resume")
    assert code == 3 and "there is no unfinished run in" in err


def test_a_run_whose_commit_is_gone_says_how_to_begin_again(dep, profiles):
    assert dep("--adapter", "late", *QUICK, steps=1)[0] == 130
    newcomers, items = few_people(8)
    upsert(Store.open(profiles), newcomers, items)
    with Store.open(profiles).writer() as writer:
        compact(writer.tables, keep_days=0)
    code, _, err = dep("--adapter", "late", "--resume")
    assert code == 3 and "cannot go on: commit " in err and "hint: begin again: --replace" in err
    assert dep("--adapter", "late", "--replace", *QUICK)[0] == 0


def test_a_commit_that_never_was_is_no_reason_to_begin_again(dep):
    assert dep("--adapter", "typo", *QUICK, steps=1)[0] == 130
    code, _, err = dep("--adapter", "typo", "--resume", "--at", "nonsense")
    assert code == 3 and "no commit nonsense in" in err and "--replace" not in err
    assert dep("--adapter", "typo", "--resume")[0] == 0


def test_a_template_of_its_own_has_to_be_named_again(tmp_path):
    mine = tmp_path / "mine.jinja"
    mine.write_text("{% block system %}Mine.{% endblock %}{% block user %}{% endblock %}")
    options = TrainOptions(epochs=3, choices=Choices(embeddings="his"), split="unseen-users:0.4")
    settings = {
        **{name: getattr(options, name) for name in ("method", "epochs", "reduction", "targets_per_user")},
        "loss": {},
        "choices": {"embeddings": "his"},
        "split": {"name": options.split},
        "template": mine.read_text(),
    }
    with pytest.raises(Incompatible, match="a template of its own"):
        options_of({}, {}, settings)
    assert options_of({}, {}, {**settings, "template": "compact"}) == TrainOptions(**{**vars(options), "template": "compact"})
    named = options_of({"template": str(mine), "epochs": 1}, {"guidance": False}, settings)
    assert (named.template, named.epochs, named.choices) == (str(mine), 1, Choices(embeddings="his", guidance=False))


def test_what_an_earlier_version_did_not_record_is_not_taken_for_granted():
    with pytest.raises(Incompatible, match='reduction: expected none, found "pca"'):
        checkpoints.check_same({"epochs": 5}, {"epochs": 5, "reduction": "pca"})


def test_an_unfinished_run_that_is_damaged_is_in_nobodys_way(dep, profiles, capsys):
    assert dep(*QUICK, "--adapter", "torn", steps=1)[0] == 130
    checkpoints.path_of(profiles / "adapters" / "torn").write_bytes(b"torn")
    assert main(["compact", "--profiles", str(profiles), "--quiet"]) == 0
    capsys.readouterr()
    commit = Store.open(profiles).snapshot().commit.id
    code, _, err = dep("--adapter", "torn", "--resume")
    assert code == 5 and "last.pt is damaged" in err and "--replace" in err
    assert Store.open(profiles).snapshot().commit.id == commit
