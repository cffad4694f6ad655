"""A split that is written in DPL's layout is the split, and reads again as what is known before each target."""

from __future__ import annotations

import json

import pytest

from depcli.cli import main
from depcli.readers import open_reviews, read_items
from depcli.records import Item, Review, stable_order
from depcli.splits.named import make
from depcli.store import Store
from tests.evaluation.world import ITEMS, make_store, reviews


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("rows") / "profiles").path


@pytest.mark.parametrize("split", [None, "unseen-users:0.3", "cold-start:2"])
@pytest.mark.parametrize("role", ["test", "train"])
def test_rows_are_the_targets_and_what_was_written_before_them(profiles, tmp_path, capsys, role, split):
    out, items = tmp_path / "rows.jsonl", tmp_path / "items.jsonl"
    ask = ["export", str(out), "--rows", role, "--items", str(items), "--profiles", profiles, "--json"]
    assert main([*ask, *(["--split", split] if split else [])]) == 0
    document = json.loads(capsys.readouterr().out)
    made = make(Store.open(profiles).snapshot(), split or "leave-last-out")
    targets = getattr(made, role)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert (document["rows"], document["split_digest"], document["items"]) == (len(targets), made.digest, len(ITEMS) - 1)
    assert [(row["user_id"], row["data"]["asin"]) for row in rows] == [target.key for target in targets]
    everything = {user: sorted((r for r in reviews() if r.user_id == user), key=stable_order) for user, _ in map(key, targets)}
    for row in rows:
        history = everything[row["user_id"]]
        place = next(i for i, review in enumerate(history) if review.asin == row["data"]["asin"])
        told = [Review(row["user_id"], e["asin"], e["text"], e["rating"], e["title"], e["timestamp"]) for e in row["profile"]]
        assert told == history[:place] and row["data"]["text"] == history[place].text
        assert {frozenset(entry) for entry in (*row["profile"], row["data"])} == {
            frozenset(("asin", "rating", "title", "text", "timestamp"))
        }
    with open_reviews(out) as reader:
        assert reader.format == "dpl"
        read = list(reader)
    assert set(read) == {review for row in rows for review in everything[row["user_id"]] if covered(rows, review)}
    with read_items(items) as reader:
        assert [item for item in reader if isinstance(item, Item)] == sorted(ITEMS[:-1], key=lambda item: item.asin)


def key(target) -> tuple[str, str]:
    return target.key


def covered(rows: list[dict], review: Review) -> bool:
    """Whether a review stands in a row of its user."""
    return any(
        row["user_id"] == review.user_id and review.asin in {row["data"]["asin"], *(past["asin"] for past in row["profile"])}
        for row in rows
    )


def test_options_of_rows_alone(profiles, tmp_path, capsys):
    for option in (["--split", "cold-start"], ["--items", str(tmp_path / "items.jsonl")]):
        assert main(["export", str(tmp_path / "all.jsonl"), *option, "--profiles", profiles]) == 2
        assert "--rows" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    (tmp_path / "there.jsonl").write_text("")
    ask = ["export", str(tmp_path / "there.jsonl"), "--rows", "test", "--items", str(tmp_path / "items.jsonl")]
    assert main([*ask, "--profiles", profiles]) == 1 and "is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.jsonl"]
    assert main(["export", str(tmp_path / "rows.jsonl"), "--rows", "test", "--profiles", profiles]) == 0
    assert capsys.readouterr().out == f"5 rows in {tmp_path / 'rows.jsonl'}\n"
