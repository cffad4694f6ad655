"""The recipe's last step, the probe, and the bundled files once they are there."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from depcli import embedders
from depcli.backbones import chat_of, find, foreknown, load_model, load_tokenizer
from depcli.backbones.catalogue import MINI
from depcli.backbones.sequence import encode
from depcli.engines import load
from depcli.personal.template import Template
from depcli.recipes import convert, corpus, habits, probe
from depcli.recipes.corpus import unseen
from depcli.records import EmbedderIdentity, Item, Request, Sampling, SoftPrompt, Text
from tests.store.made import DATA

bundled = pytest.mark.skipif(not (MINI / "model.safetensors").is_file(), reason="the weights of mini are not in this checkout")


def test_conversion_keeps_the_model_and_says_what_it_lost(tiny_backbone, tmp_path):
    checkpoint = Path(shutil.copytree(tiny_backbone, tmp_path / "checkpoint"))
    np.save(checkpoint / foreknown.FILE, np.unique(foreknown.marks(["A quiet film.", "Loud."])))
    ran = CliRunner().invoke(convert.main, [str(checkpoint), str(tmp_path / "out")], catch_exceptions=False)
    said = json.loads(ran.stdout)
    assert said["gguf_error"] < 2**-24 and 0 < said["bf16_error"] < 0.01
    backbone = find(str(tmp_path / "out"))
    assert (backbone.template, backbone.max_input_tokens, backbone.gguf.name) == ("compact", 1536, "mini.gguf")
    original, converted = load_model(find(str(tiny_backbone))), load_model(backbone)
    lost = max((a - b).abs().max().item() for a, b in zip(original.parameters(), converted.parameters(), strict=True))
    assert lost == pytest.approx(said["bf16_error"])
    assert converted.generation_config.eos_token_id == [2, 0]
    (note,) = foreknown.notes(backbone, ["Loud.", "A  quiet\nfilm.", "Loud", "\ud800"], "tested")
    assert note.startswith("out was made from 2 of the 4 tested reviews:")
    assert foreknown.notes(backbone, ["Loud"], "tested") == foreknown.notes(find("qwen2.5-7b"), ["Loud."], "tested") == []
    request = (SoftPrompt((Text("The plot is"),)), Sampling(temperature=0, max_new_tokens=8))
    with load("transformers", backbone, exact=True) as one, load("llamacpp", backbone, exact=True) as other:
        assert one.chat == other.chat
        assert next(one.generate([request])).tokens == next(other.generate([request])).tokens


def write(folder: Path, files: dict[str, list[dict]]) -> None:
    for name, lines in files.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def reviews(tmp_path):
    """A data folder with 40 users of 1 to 14 reviews each of 12 items."""
    random = np.random.default_rng(0)
    folder = tmp_path / "rotten_tomatoes"
    folder.mkdir()
    items = [{"asin": f"i{i}", "title": f"Film {i}", "description": ""} for i in range(12)]
    rows = [
        {"user_id": f"u{u}", "asin": f"i{i}", "text": f"text of u{u} on i{i}", "rating": 4.0, "title": "", "timestamp": int(when)}
        for u in range(120)
        for when, i in enumerate(random.permutation(12)[: random.integers(1, 13)])
    ]
    write(tmp_path, {"rotten_tomatoes/items": items, "rotten_tomatoes/reviews": rows})
    return tmp_path, rows


def test_probe_takes_unseen_users_and_never_shows_the_target(reviews):
    data, rows = reviews
    known = {}
    for row in rows:
        known.setdefault(row["user_id"], []).append(row["asin"])
    cases = probe.cases(data, 0, seed=0)
    users = {case.target.review.user_id for case in cases}
    assert users == {user for user, mine in known.items() if unseen(user) and len(mine) > 1}
    assert all(hashlib.sha256(user.encode()).digest()[0] < 128 for user in users)
    for case in cases:
        user, asin = case.target.review.user_id, case.target.item.asin
        at = known[user].index(asin)
        assert [entry.item.asin for entry in case.own] == known[user][max(0, at - 8) : at]
        assert at >= max(1, len(known[user]) - 10)
        assert len(case.stranger) == len(case.own) and case.history("none") == ()
        (stranger,) = {entry.review.user_id for entry in case.stranger}
        assert stranger in users - {user} and asin not in {entry.item.asin for entry in case.stranger}
    assert len(probe.cases(data, 3, seed=0)) < len(cases)


@pytest.fixture
def data(reviews):
    """A whole data folder: the benchmark holds the users u0 to u119, the corpora also others and a few copied texts."""
    folder, rows = reviews
    others = [row | {"user_id": "other" + row["user_id"], "text": "other " + row["text"]} for row in rows[:50]]
    copies = [row | {"user_id": "copy" + row["user_id"]} for row in rows]
    mixed = [row | {"user_id": f"m{i}", "text": f"A. B of {i}! C.", "source": "shop"} for i, row in enumerate(rows[:60])]
    files = {
        "rotten_tomatoes/reviews_u18": rows[:100],
        "rotten_tomatoes/corpus": rows + others + copies,
        "digital_music/reviews_u8": rows[:10],
        "digital_music/reviews_onepass": [],
        "digital_music/corpus": others,
        "mixed_reviews/corpus": mixed,
    }
    for name in ("digital_music", "mixed_reviews"):
        (folder / name).mkdir()
        files[f"{name}/items"] = []
    write(folder, files)
    return folder, rows


def test_pretraining_sees_nothing_that_is_held_out(data):
    folder, rows = data
    mine = {}
    for row in rows:
        mine.setdefault(row["user_id"], []).append(row["text"])
    held = {text for user, texts in mine.items() for text in (texts if unseen(user) else texts[-5:])}
    shown = [row for users in corpus.Corpus(folder).users.values() for reviews in users.values() for row in reviews]
    texts = {row["text"] for row in shown}
    assert not texts & held  # copies under other names included
    assert {row["text"] for row in rows} - held <= texts
    assert not any(unseen(row["user_id"]) and row["user_id"] in mine for row in shown)


def test_made_up_authors_share_a_habit_and_are_made_of_the_corpus(data):
    known = corpus.Corpus(data[0])
    window = next(known.made_up(random.Random(0)))
    assert len(window) == 9 and len({row["user_id"] for row in window}) == 9
    original = {row["user_id"]: row["text"] for row in known.kinds["shop"]}
    for seed in range(20):
        rewrite = habits.author(["a few words to like here"], random.Random(seed))
        again = habits.author(["a few words to like here"], random.Random(seed))
        assert [rewrite(text) for text in original.values()] == [again(text) for text in original.values()]
    assert any(row["text"] != original[row["user_id"]] for row in window)


def test_probe_end_to_end(reviews, tiny_backbone):
    found = probe.probe(reviews[0], str(tiny_backbone))
    assert found["reviews"] == len(probe.cases(reviews[0], 0, seed=0))
    for a, b in (("own", "none"), ("own", "stranger")):
        assert found[f"{a}_minus_{b}"]["difference"] == pytest.approx(found["loss"][a] - found["loss"][b])


def test_clustered_error_equals_the_slow_way_and_is_not_fooled_by_repeats():
    random = np.random.default_rng(3)
    users, tokens = random.integers(0, 9, 50), random.integers(5, 60, 50)
    a, b = random.random(50) * tokens, random.random(50) * tokens
    mean = (a.sum() - b.sum()) / tokens.sum()
    clusters = sorted(set(users))
    squares = sum(((a - b)[users == u].sum() - mean * tokens[users == u].sum()) ** 2 for u in clusters)
    error = (len(clusters) / (len(clusters) - 1) * squares) ** 0.5 / tokens.sum()
    found = probe.difference(a, b, tokens, users)
    assert (found["difference"], found["standard_error"]) == pytest.approx((mean, error))
    twice = probe.difference(*(np.concatenate([x, x]) for x in (a, b, tokens, users)))
    assert twice["standard_error"] == pytest.approx(error)


@bundled
def test_bundled_files_are_small_and_belong_together():
    backbone = find("mini")
    assert backbone.template == "compact" and backbone.max_input_tokens == 1536 and backbone.context >= 2048
    for name in ("model.safetensors", "mini.gguf"):
        assert (MINI / name).stat().st_size <= 20_000_000
    model, tokenizer = load_model(backbone, device="cpu"), load_tokenizer(backbone)
    worst, relative = convert.rounding_errors(backbone.gguf, model)
    assert worst < 2**-24 and relative < 1e-4
    with load("llamacpp", backbone, exact=True) as engine:
        assert engine.chat == chat_of(tokenizer)
        assert (engine.width, engine.context) == (model.config.hidden_size, backbone.context)
        request = Request("u", Item("i", "A Film", "About something."), 4.0, None)
        parts = Template(backbone.template).parts(engine.chat, request)
        logits = engine.next_logits(SoftPrompt(parts))
        import torch

        ids = torch.from_numpy(encode(parts, tokenizer).ids).long()[None]
        expected = model(input_ids=ids).logits[0, -1].numpy()
        assert np.abs(logits - expected).max() < 0.05 * np.ptp(expected)
        written = list(engine.generate([(SoftPrompt(parts), Sampling(max_new_tokens=1000, seed=seed)) for seed in range(5)]))
    assert sum(done.finish == "stop" for done in written) >= 4
    assert sum(len(done.text.split()) > 3 for done in written) >= 4


@bundled
def test_mini_says_what_it_was_made_from():
    """Of the benchmark's film critics: of the half that is unseen nothing, of the others all but the last five reviews."""
    if not DATA.is_dir():
        pytest.skip("the research data is not beside the checkout (set DEP_DATA)")
    users = corpus.in_order(corpus.read(DATA / "rotten_tomatoes" / "reviews.jsonl.gz"))
    last = [row["text"] for mine in users.values() for row in mine[-5:]]
    before = {row["text"] for user, mine in users.items() if not unseen(user) for row in mine[:-5]} - set(last)
    others = [row["text"] for user, mine in users.items() if unseen(user) for row in mine]
    (note,) = foreknown.notes(find("mini"), before, "tested")
    known = int(note.split()[4].replace(",", ""))
    assert known > 0.99 * len(before) > 5000
    assert foreknown.notes(find("mini"), [*last, *others], "tested") == []
    styled = EmbedderIdentity("minilm+style", "", 512)
    (note,) = embedders.foreknown_notes(styled, before, "tested")
    assert int(note.split()[4].replace(",", "")) > 0.99 * len(before)
    assert embedders.foreknown_notes(styled, [*last, *others], "tested") == []
    assert embedders.foreknown_notes(EmbedderIdentity("minilm", "", 384), before, "tested") == []
