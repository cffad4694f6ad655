"""The parts that can be left out or changed, and what that makes of a prompt."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest

from depcli import methods
from depcli.errors import BadInput, Incompatible
from depcli.personal.choices import Choices, choices_of
from depcli.personal.prompts import PromptBuilder
from depcli.personal.retrieval import by_words, retrieve
from depcli.personal.template import Template
from depcli.records import Item, Request, Review, Slot, Stored
from depcli.training.options import TrainOptions
from tests.personal.test_prompts import CHAT, TARGET, count
from tests.store.made import MadeEmbedder, vector_of


def build(snapshot, *, method="dep", template="full", k=8, **choices):
    made = PromptBuilder(
        snapshot,
        methods.find(method),
        Template(template),
        CHAT,
        count,
        k=k,
        choices=Choices(**choices),
        embed=MadeEmbedder().encode,
    )
    return made.build(Request("user0", TARGET))


def kinds(prompt) -> list[str]:
    return [part.kind for part in prompt.parts if isinstance(part, Slot)]


@pytest.mark.parametrize("method", ["dep", "trained-prompt"])
def test_each_kind_of_embedding_alone_is_what_both_have_of_it(snapshot, method):
    both = kinds(build(snapshot, method=method))
    for wanted in ("his", "diff"):
        assert kinds(build(snapshot, method=method, embeddings=wanted)) == [kind for kind in both if kind.startswith(wanted)]
    assert kinds(build(snapshot, method=method, embeddings="none")) == []
    assert build(snapshot, method=method, embeddings="none").render() == build(snapshot, method="rag").render()


@pytest.mark.parametrize("template", ["full", "compact"])
def test_without_review_text_the_soft_tokens_stay(snapshot, template):
    whole, bare = (build(snapshot, template=template, review_text=with_it) for with_it in (True, False))
    assert kinds(whole) == kinds(bare) and len(bare.shown) == len(whole.shown)
    for past in whole.shown:
        assert past.review.text in whole.render() and past.review.text not in bare.render()
        assert not past.review.title or past.review.title not in bare.render()
    assert "[Review]" not in bare.render() and "[Rating]" in bare.render()


def test_guidance_is_a_sentence_more(snapshot):
    said, unsaid = build(snapshot).render(), build(snapshot, guidance=False).render()
    assert "difference embedding" in said and "difference embedding" not in unsaid and kinds(build(snapshot, guidance=False))


def stored(texts: list[str]) -> list[Stored]:
    return [Stored(Review("u", f"i{n}", text, timestamp=float(n)), vector_of(text)) for n, text in enumerate(texts)]


def test_dense_retrieval_takes_the_nearest_and_shows_them_in_order(snapshot):
    prompt = build(snapshot, k=3, retrieval="dense")
    query = vector_of("Item 9\nWhat item 9 is")
    everything = [entry.review.asin for entry in snapshot.histories(["user0"])["user0"]]
    close = {entry.review.asin: float(entry.vector @ query) for entry in snapshot.histories(["user0"])["user0"]}
    nearest = sorted(everything, key=lambda asin: -close[asin])[:3]
    assert [past.review.asin for past in prompt.shown] == [asin for asin in everything if asin in nearest]


def test_bm25_takes_what_shares_rare_words():
    pytest.importorskip("bm25s")
    entries = stored(["the red kettle boils", "the film", "the lamp", "the film and a kettle", "the songs"])
    item = Item("x", "A Kettle!", "boils")
    scores = by_words(entries, item)
    assert scores.argmax() == 0 and scores[3] > scores[1] == scores[2] == scores[4] == 0
    chosen = retrieve(entries, 3, "bm25", Request("u", item))
    assert [entry.review.asin for entry in chosen] == ["i0", "i3", "i4"]  # the last for being the latest of the rest
    assert retrieve(entries, 2, "bm25", Request("u", Item("x", "", ""))) == entries[-2:]


def test_bm25_says_nothing_in_other_people_s_logs(caplog):
    pytest.importorskip("bm25s")
    with caplog.at_level(logging.DEBUG):
        retrieve(stored(["the kettle", "a film"]), 1, "bm25", Request("u", Item("x", "A Kettle!")))
    assert [record for record in caplog.records if record.name == "bm25s"] == []


def test_random_is_the_same_for_the_same_request_and_covers_everything():
    entries = stored([f"text {n}" for n in range(10)])
    draws = {}
    for n in range(60):
        request = Request("u", Item(f"x{n}"))
        chosen = [entry.review.asin for entry in retrieve(entries, 4, "random", request)]
        random.seed(n)  # the state of others does not matter
        assert chosen == [entry.review.asin for entry in retrieve(entries, 4, "random", request)] == sorted(chosen)
        draws[n] = tuple(chosen)
    assert len(set(draws.values())) > 30 and {asin for chosen in draws.values() for asin in chosen} == {
        f"i{n}" for n in range(10)
    }


@pytest.mark.parametrize("how", ["recency", "bm25", "dense", "random"])
def test_fewer_reviews_than_k_are_all_shown(how):
    entries = stored(["a", "b"])
    query = np.ones(16, np.float32)
    assert retrieve(entries, 2, how, Request("u", TARGET), query) == entries
    assert retrieve(entries, 0, "recency", Request("u", TARGET)) == []


def test_an_adapter_keeps_to_what_it_was_trained_with():
    config = {"choices": {"embeddings": "his", "review_text": True, "guidance": True, "retrieval": "bm25"}}
    folder, dep = Path("mine"), methods.find("dep")
    assert choices_of(dep, folder, config, {"embeddings": "his", "retrieval": None}) == Choices("his", retrieval="bm25")
    for asked, said in (
        ({"embeddings": "diff"}, "embeddings his, not diff"),
        ({"review_text": False}, "review-text on, not off"),
    ):
        with pytest.raises(Incompatible, match=f"'mine' was trained with {said}"):
            choices_of(dep, folder, config, asked)
    rag, pplug = methods.find("rag"), methods.find("pplug")
    asked = {"embeddings": "his", "guidance": False, "peer_weighting": "distance", "retrieval": "random", "review_text": False}
    assert choices_of(rag, None, None, asked) == Choices(retrieval="random", review_text=False)
    assert choices_of(pplug, None, None, asked) == Choices()


def test_what_is_not_known_is_refused():
    for wrong in ({"embeddings": "her"}, {"retrieval": "newest"}):
        with pytest.raises(BadInput):
            Choices(**wrong)
    with pytest.raises(BadInput, match="rag is the same"):
        TrainOptions(choices=Choices(embeddings="none"))
    with pytest.raises(BadInput, match="reduction must be pca or sae or ae or none, not ica"):
        TrainOptions(reduction="ica")
