"""What stands before PPlug's prompts: the vectors of all that was written before, and the item's own."""

from __future__ import annotations

import numpy as np
import pytest

from depcli import methods
from depcli.errors import NotFound
from depcli.personal import pooled
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.records import Item, Request, Review, Text, stable_order
from tests.personal.conftest import made_store
from tests.personal.test_prompts import CHAT, TARGET, count
from tests.store.made import MadeEmbedder, vector_of


def builder(snapshot, embedder, **options) -> PromptBuilder:
    return PromptBuilder(snapshot, methods.find("pplug"), Template("full"), CHAT, count, embed=embedder.encode, **options)


def mine(reviews, user: str) -> list[Review]:
    return sorted((review for review in reviews if review.user_id == user), key=stable_order)


def check(prompt, reviews: list[Review], query: np.ndarray) -> None:
    task, person, *rest = prompt.parts
    assert task.kind == "task" and person.kind == "person" and all(isinstance(part, Text) for part in rest)
    np.testing.assert_array_equal(np.stack(person.history), np.stack([vector_of(review.text) for review in reviews]))
    np.testing.assert_array_equal(person.embedding, query)
    assert list(prompt.pooled) == reviews and prompt.shown == ()
    assert not any(review.text in prompt.render() for review in reviews)


def test_the_whole_history_counts_whatever_k_is(snapshot, reviews):
    embedder = MadeEmbedder()
    prompt = builder(snapshot, embedder, k=1).build(Request("user0", TARGET))
    check(prompt, mine(reviews, "user0"), vector_of("Item 9\nWhat item 9 is"))
    assert embedder.texts == ["Item 9\nWhat item 9 is"]


def test_nothing_of_the_target_or_of_what_came_later_counts(snapshot, reviews):
    written = mine(reviews, "user1")
    embedder = MadeEmbedder()
    for position, target in enumerate(written[1:], 1):
        item = Item(target.asin, f"Film {position}")
        prompt = builder(snapshot, embedder).build(Request("user1", item, before=stable_order(target)))
        check(prompt, written[:position], vector_of(f"Film {position}"))
    first = builder(snapshot, embedder).build(Request("user1", Item(written[0].asin), before=stable_order(written[0])))
    assert first.parts[0].kind == "task" and all(isinstance(part, Text) for part in first.parts[1:]) and not first.pooled


def test_the_item_itself_is_left_out_of_what_is_written_now(snapshot, reviews):
    prompt = builder(snapshot, MadeEmbedder()).build(Request("user0", Item("item1", "One")))
    check(prompt, [review for review in mine(reviews, "user0") if review.asin != "item1"], vector_of("One"))


def test_only_what_existed_at_the_moment_counts(tmp_path, reviews):
    store = made_store(tmp_path, reviews)
    prompt = builder(store.snapshot(as_of=101.0), MadeEmbedder()).build(Request("user0", TARGET))
    check(prompt, [r for r in mine(reviews, "user0") if r.timestamp <= 101.0], vector_of("Item 9\nWhat item 9 is"))


def test_an_item_without_words_weighs_all_reviews_the_same(snapshot, reviews):
    embedder = MadeEmbedder()
    prompt = builder(snapshot, embedder).build(Request("user0", Item("unheard of")))
    check(prompt, mine(reviews, "user0"), np.zeros(16, np.float32))
    assert embedder.texts == []


def test_the_most_recent_512_reviews_count(tmp_path):
    many = [Review("u", f"i{n:03}", f"text {n}", timestamp=float(n)) for n in range(pooled.LONGEST + 3)]
    prompt = builder(made_store(tmp_path, many).snapshot(), MadeEmbedder()).build(Request("u", TARGET))
    assert pooled.LONGEST == 512
    check(prompt, many[3:], vector_of("Item 9\nWhat item 9 is"))


def test_both_tokens_count_against_the_budget(snapshot):
    building = builder(snapshot, MadeEmbedder())
    prompt = building.build(Request("user0", TARGET))
    assert building.tokens(prompt) == 2 + sum(count(part.text) for part in prompt.parts if isinstance(part, Text))
    fitting = building.tokens(prompt)
    assert builder(snapshot, MadeEmbedder(), max_input_tokens=fitting).build(Request("user0", TARGET)).pooled
    with pytest.raises(Exception, match="without any history"):
        builder(snapshot, MadeEmbedder(), max_input_tokens=fitting - 1).build(Request("user0", TARGET))


def test_unknown_users_are_not_found_and_an_embedder_is_needed(snapshot):
    with pytest.raises(NotFound, match="no user 'nobody'"):
        builder(snapshot, MadeEmbedder()).build(Request("nobody", TARGET))
    with pytest.raises(ValueError, match="embedder"):
        PromptBuilder(snapshot, methods.find("pplug"), Template("full"), CHAT, count)
