"""Scores from planted files: what a method is must show in every metric and test."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from depcli.errors import BadInput
from depcli.evaluation import predictions as files
from depcli.evaluation.measures.alignment import alignments, real_differences
from depcli.evaluation.scoring import score_files
from depcli.evaluation.statistics.significance import paired_bootstrap
from depcli.records import EmbedderIdentity, Review
from depcli.splits.split import Target
from depcli.store import Store
from depcli.system import resumable

STYLES = (
    "Quiet and slow",
    "Loud, brash, far too long",
    "A warm hug of a film",
    "Cold, clever, and hollow",
    "Funny in all the wrong places",
)
SUBJECTS = ("the plot", "her acting", "the score", "his direction", "the ending", "the dialogue", "the camera", "the cast")


def plant(out: Path, texts: dict[str, list[str]], references: list[str], users: list[str] | None = None) -> list[str]:
    """A predictions file of planted methods, of one user each where none are named; the ids."""
    ids = [f"{i:016x}" for i in range(len(references))]
    resumable.write_lines(
        out / files.PREDICTIONS,
        (
            {
                "id": key,
                "method": name,
                "user_id": user,
                "asin": "x",
                "prediction": text,
                "reference": reference,
                "prompt_tokens": 1,
                "generated_tokens": 1,
                "finish": "stop",
                "shown": [],
            }
            for name, column in texts.items()
            for key, user, text, reference in zip(ids, users or ids, column, references, strict=True)
        ),
    )
    return ids


def critics(users: int = 40, items: int = 5) -> list[Review]:
    """One review each, of one of a few items; the style goes with the user, the subject with both."""
    made = []
    for u in range(users):
        style, subject = STYLES[u * 7 % len(STYLES)], SUBJECTS[u * 3 % len(SUBJECTS)]
        text = f"{style}: {subject} of film {u % items} stayed with critic {u} for {u + 2} days."
        made.append(Review(f"critic {u}", f"film{u % items}", text, timestamp=float(u)))
    return made


def planted_world(out: Path, methods: dict[str, list[str]], embed) -> list[str]:
    """Files of an evaluation of these texts, one for each of `critics`: predictions, likelihoods and alignments."""
    real = critics()
    vectors = embed([review.text for review in real])
    store = Store.create(out / "profiles", EmbedderIdentity("planted", "0", vectors.shape[1]))
    with store.writer() as writer:
        writer.upsert(real, vectors, [], source="planted")
    targets = [Target(review.user_id, review.asin, review.timestamp) for review in real]
    ids = plant(out, methods, [review.text for review in real], [review.user_id for review in real])
    of = {key: target for key, target in zip(ids, targets, strict=True)}
    lines = [{**line, "asin": of[line["id"]].asin} for line in resumable.read_lines(out / files.PREDICTIONS)]
    resumable.write_lines(out / files.PREDICTIONS, lines)
    resumable.write_lines(out / files.ALIGNMENT, alignments(embed, lines, real_differences(store.snapshot(), targets)))
    rng = np.random.default_rng(2)
    nats = {"random": 5.0, "stranger": 4.0, "copy": 1.0, "copy2": 1.0}
    hard = rng.gamma(4.0, size=len(ids))
    resumable.write_lines(
        out / files.NLL,
        (
            {"id": key, "method": name, "nats": 20 * (nats[name] + h), "tokens": 20, "cut": False}
            for name in methods
            for key, h in zip(ids, hard.tolist(), strict=True)
        ),
    )
    return ids


def test_planted_methods_are_told_apart_and_copies_are_not(tmp_path):
    minilm = pytest.importorskip("depcli.embedders.minilm")
    if not minilm.installed():
        pytest.skip("needs the offline embedder")
    references = [review.text for review in critics()]
    rng = np.random.default_rng(0)
    nonsense = ("lemon", "quantum", "orbit", "granite", "fjord", "zebra", "tango", "kilo")
    texts = {
        "random": [" ".join(rng.choice(nonsense, size=12)) for _ in references],
        "stranger": [*references[7:], *references[:7]],
        "copy": references,
        "copy2": references,
    }
    ids = planted_world(tmp_path, texts, minilm.MiniLM().encode)
    scored = score_files(tmp_path, list(texts), {0: ids}, alignment="minilm")
    for metric in ("rouge1", "rougeL", "meteor", "bleu", "bertscore", "alignment"):
        values = [scored["methods"][name]["metrics"][metric]["value"] for name in texts]
        if values[0] is None:
            assert metric in ("meteor", "bertscore") and scored["notes"]
            continue
        assert max(values[:2]) < values[2] == values[3], metric
        assert values[0] < values[1] or metric == "alignment", "which a wrong text cannot have more or less of"
    assert scored["methods"]["copy"]["metrics"]["alignment"]["value"] == pytest.approx(1, abs=1e-6)
    assert scored["methods"]["copy"]["metrics"]["length"]["value"] == 1
    assert {found["metric"] for found in scored["differences"]} >= {"nll", "rouge1", "alignment"}
    order = list(texts)
    for found in scored["differences"]:
        pair = found["method"], found["against"]
        if set(pair) == {"copy", "copy2"}:
            assert (found["clear"], found["p"], found["better"]) == (False, 1, None)
        elif found["metric"] != "alignment" or max(map(order.index, pair)) >= order.index("copy"):
            assert found["clear"] and found["better"] == max(pair, key=order.index), found


def test_empty_texts_are_counted(tmp_path):
    ids = plant(tmp_path, {"m": ["", " \n", "A film."]}, ["A film."] * 3)
    scored = score_files(tmp_path, ["m"], {0: ids})
    assert scored["methods"]["m"]["empty"] == 2
    assert scored["methods"]["m"]["metrics"]["rouge1"]["value"] == pytest.approx(1 / 3)
    assert scored["methods"]["m"]["nll"] is None


def test_intervals_are_over_users(tmp_path):
    references = [f"A film that {word}s on you." for word in ("grow", "fall", "turn", "dawn", "call", "count")]
    likelihoods = [
        {"id": f"{i:016x}", "method": name, "nats": 10.0 + (i * 7 % 5) * (name == "b"), "tokens": 4 + i, "cut": False}
        for name in "ab"
        for i in range(6)
    ]
    resumable.write_lines(tmp_path / files.NLL, likelihoods)
    ids = plant(tmp_path, {"a": references, "b": references}, references, ["u", "v", "u", "u", "v", "w"])
    (found, *_) = score_files(tmp_path, ["a", "b"], {0: ids})["differences"]
    a, b = ([entry["nats"] / entry["tokens"] for entry in likelihoods if entry["method"] == name] for name in "ab")
    slow = paired_bootstrap(b, a, [4 + i for i in range(6)], ["u", "v", "u", "u", "v", "w"])
    assert (found["metric"], found["requests"], found["groups"]) == ("nll", 6, 3)
    assert (found["low"], found["high"]) == (slow.low, slow.high)


def test_of_one_user_alone_the_intervals_are_over_reviews(tmp_path):
    references = [f"A film that {word}s on you." for word in ("grow", "fall", "turn", "dawn", "call", "count")]
    likelihoods = [
        {"id": f"{i:016x}", "method": name, "nats": 9.0 + (i % 4) * (name == "b"), "tokens": 4 + i, "cut": False}
        for name in "ab"
        for i in range(6)
    ]
    resumable.write_lines(tmp_path / files.NLL, likelihoods)
    ids = plant(tmp_path, {"a": references, "b": references}, references, ["u"] * 6)
    scored = score_files(tmp_path, ["a", "b"], {0: ids})
    found, tokens = scored["differences"][0], np.arange(4.0, 10.0)
    gaps = np.arange(6) % 4 / tokens
    signs = np.array(list(product((-1, 1), repeat=6)))
    chance = (np.abs(signs @ (tokens * gaps)) >= (tokens * gaps).sum() - 1e-9).mean()
    assert (found["metric"], found["requests"], found["groups"]) == ("nll", 6, 6)
    assert found["difference"] == pytest.approx((tokens * gaps).sum() / tokens.sum()) and found["p"] == pytest.approx(chance)
    assert found["low"] < found["difference"] < found["high"]
    assert scored["methods"]["a"]["nll"]["se_users"] > 0


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        (files.PREDICTIONS, "nonsense", "line 2: Expecting value"),
        (files.PREDICTIONS, '{"id": "1"}', "line 2: no method"),
        (files.NLL, '{"id": "1", "method": "m", "nats": NaN, "tokens": 3, "cut": false}', "line 1: NaN is no number"),
        (files.SWAP, '{"id": "1", "method": "m", "nats": 1.0, "tokens": 3}', "line 1: no variant"),
    ],
)
def test_damaged_lines_are_named(tmp_path, file, line, said):
    ids = plant(tmp_path, {"m": ["A film."]}, ["A film."])
    with (tmp_path / file).open("a") as opened:
        opened.write(line + "\n")
    with pytest.raises(BadInput, match=f"{file}, {said}"):
        score_files(tmp_path, ["m"], {0: ids})
