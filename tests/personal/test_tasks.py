"""Templates for what is no review: the task, what is given, and earlier texts with what they were made of."""

from __future__ import annotations

import numpy as np
import pytest

from depcli.chat import Chat
from depcli.personal.template import Template
from depcli.records import Item, PastReview, Request, Review, Slot, Text

CHAT = Chat("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<answer>", "<end>", specials=("<end>",))
TASK = "Generate a headline for the following article"
VECTOR = np.ones(2, np.float32)
TWEET = PastReview(Review("u", "t", "yo .."), Item("t", "", "", "Paraphrase the following tweet"), VECTOR, None, 0)
HEADLINE = PastReview(Review("u", "h", "KETTLES BOIL"), Item("h", "", "Old article.", TASK), VECTOR, None, 0)
REVIEW = PastReview(Review("u", "r", "Good pan."), Item("r", "Pan", "A pan."), VECTOR, None, 0)


def rendered(name: str, item: Item, *past: PastReview) -> str:
    parts = Template(name).parts(CHAT, Request("u", item), past, slots=[[Slot("his", VECTOR)] for _ in past])
    return "".join(part.text if isinstance(part, Text) else f"«{part.kind}»" for part in parts)


@pytest.mark.parametrize("name", ["full", "compact", "compact-user-first"])
def test_nothing_is_said_of_reviews_where_none_is_asked_for(name):
    text = rendered(name, Item("x", "", "An article.", f"{TASK} <end>"), TWEET, HEADLINE)
    assert text.index("yo ..") < text.index("[Given] Old article.") < text.index("[Text] KETTLES BOIL")
    assert f"[Task] {TASK} < end>" in text and "[Given] An article." in text and text.count("«his»") == 2
    assert "eview" not in text and "[Item" not in text


@pytest.mark.parametrize("name", ["full", "compact", "compact-user-first"])
def test_a_review_is_asked_for_as_ever_whatever_stands_in_the_history(name):
    text = rendered(name, Item("x", "Kettle", "A kettle."), HEADLINE, REVIEW)
    assert "[Task]" not in text and "[Item Title] Kettle" in text and "review" in text
    assert "[Review] Good pan." in text and "[Text] KETTLES BOIL" in text
