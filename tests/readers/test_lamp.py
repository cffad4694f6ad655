"""LaMP and LongLaMP rows become users, items with a task and texts; what is wrong in one entry costs that entry."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from depcli.errors import BadInput
from depcli.readers import BadLine, open_reviews, read_requests
from depcli.records import Item, Review, stable_order
from tests.readers.made_lamp import HEADLINE, TITLE, TWEET, headlines, write_lamp

TASK = HEADLINE.rstrip(": ")


def read(path, *rows, format=None):
    path = path / "file.json"
    path.write_text(json.dumps(rows))
    return open_reviews(path, format)


def good(entries, kind):
    return [entry for entry in entries if isinstance(entry, kind)]


def test_headlines_with_their_outputs_beside(tmp_path):
    reader = open_reviews(write_lamp(tmp_path, "dev", *headlines(users=2, entries=2)))
    assert reader.format == "lamp" and reader.reason.endswith("the texts it asks for are in dev_outputs.json")
    assert list(reader)[:6] == [
        Item("40/00001", "", "Article 0: it rained in town 0, and so on.", TASK),
        Review("40", "40/00001", "NEWS 0 OF PERSON 0"),
        Item("40/00002", "", "Article 1: it rained in town 0, and so on.", TASK),
        Review("40", "40/00002", "NEWS 1 OF PERSON 0"),
        Item("40/target", "", "The last article: of town 0.", TASK),
        Review("40", "40/target", "THE END OF TOWN 0"),
    ]


@pytest.mark.parametrize("dated", [False, True])
def test_what_is_asked_for_comes_after_all_of_the_profile(tmp_path, dated):
    reviews = good(open_reviews(write_lamp(tmp_path, "dev", *headlines(1, 12, dated=dated))), Review)
    assert max(reviews, key=stable_order).asin == "40/target"
    assert (reviews[-1].timestamp is not None) == dated and reviews[-1].timestamp == reviews[-2].timestamp


def test_without_outputs_there_are_the_profiles_and_what_is_asked(tmp_path):
    reader = open_reviews(write_lamp(tmp_path, "test", headlines(1, 2)[0], None))
    assert "no test_outputs.json beside it" in reader.reason
    entries = list(reader)
    assert [review.asin for review in good(entries, Review)] == ["40/00001", "40/00002"]
    assert good(entries, Item)[-1].asin == "40/target" and not good(entries, BadLine)


def test_outputs_inside_the_rows(tmp_path):
    questions, outputs = headlines(2, 1)
    rows = [{**row, "output": gold["output"]} for row, gold in zip(questions, outputs["golds"], strict=True)]
    assert [r.text for r in good(read(tmp_path, *rows), Review) if r.asin.endswith("/target")] == [
        "THE END OF TOWN 0",
        "the end of town 1",
    ]


def test_titles_and_tweets(tmp_path):
    titles = {
        "id": 5,
        "input": TITLE + "We study: things.",
        "profile": [{"id": "1", "title": "On X", "abstract": "X.", "date": 2014}],
    }
    item, review, target = read(tmp_path, titles)
    assert (item.description, item.task, target.description) == ("X.", TITLE.rstrip(": "), "We study: things.")
    assert review == Review("5", "5/00001", "On X", timestamp=datetime(2014, 1, 1, tzinfo=UTC).timestamp())
    tweets = {"id": "7", "input": TWEET + "Hello: world", "profile": [{"id": "1", "text": "yo .."}]}
    item, review, target = read(tmp_path, tweets)
    assert (item.description, review.text, target.description, target.task) == ("", "yo ..", "Hello: world", TWEET.rstrip(": "))


@pytest.mark.parametrize(
    ("entry", "asked"),
    [
        ({"text": "t", "score": "5"}, "What is the score of the following review? review: x"),
        ({"text": "t", "title": "t", "category": "women"}, "Which category? article: x"),
        ({"description": "d", "tag": "comedy"}, "Which tag? tags: [comedy] description: x"),
        ({"title": "t", "abstract": "a"}, 'For an author who has written the paper with the title "A", which reference?'),
    ],
)
def test_tasks_that_ask_for_a_class_are_refused_by_row(tmp_path, entry, asked):
    (bad,) = read(tmp_path, {"id": "1", "input": asked, "profile": [entry]})
    assert "asks for a class, not for a text" in bad.reason


def test_what_is_wrong_is_named_and_the_rest_kept(tmp_path):
    questions, outputs = headlines(5, 3)
    questions[0]["profile"][1]["title"] = ["nested"]
    questions[1]["profile"][2] = "text"
    questions[2]["id"] = questions[1]["id"]
    questions[3]["profile"] = []
    outputs["golds"] = outputs["golds"][:4]
    entries = list(open_reviews(write_lamp(tmp_path, "dev", questions, outputs)))
    assert [(bad.line_number, bad.reason) for bad in good(entries, BadLine)] == [
        (1, "entry 2 of the profile: the text is a list, not a string"),
        (2, "entry 3 of the profile: not an object"),
        (3, "the id '41' was there before"),
        (5, "the outputs have nothing for the id '44'"),
    ]
    assert [review.user_id for review in good(entries, Review)] == ["40"] * 3 + ["41"] * 3 + ["43"] + ["44"] * 3


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "1", "input": " ", "profile": []}, "no input"),
        ({"id": "1", "input": "x: y", "profile": {}}, "the profile is not a list"),
        ({"id": None, "input": "x: y", "profile": []}, "no id"),
        ({"id": "1", "input": "x: y", "profile": [{"a": 1, "b": 2}]}, "no task that is known has profiles with a, b"),
        ({"id": "1", "input": "x: y", "profile": [], "output": 5}, "the output: the text is a number, not a string"),
    ],
)
def test_rows_that_are_no_use(tmp_path, row, reason):
    assert [entry.reason for entry in good(read(tmp_path, row, format="lamp"), BadLine)] == [reason]


@pytest.mark.parametrize("content", ["[]", "{", '{"task": "LaMP_4"}', '{"golds": [{"id": 1}]}', '{"golds": 5}'])
def test_broken_outputs(tmp_path, content):
    path = write_lamp(tmp_path, "dev", headlines(1)[0], None)
    (tmp_path / "dev_outputs.json").write_text(content)
    with pytest.raises(BadInput, match="has not the shape of LaMP's outputs"):
        open_reviews(path)


def test_reviews_of_longlamp_are_reviews(tmp_path):
    row = {
        "reviewerId": "A1",
        "output": "Fine words.",
        "input": 'Generate the review text written by a reviewer who has a given an overall rating of "4.0" for a product with '
        'description "A "big" kettle". The summary of the review text is "Boils".',
        "profile": [{"description": "A pan", "overall": "5", "reviewText": "Pans.", "summary": "Good"}],
    }
    reader = read(tmp_path, row, {**row, "input": "Write."})
    assert reader.format == "longlamp" and list(reader) == [
        Item("A1/00001", "", "A pan"),
        Review("A1", "A1/00001", "Pans.", 5.0, "Good"),
        Item("A1/target", "", 'A "big" kettle'),
        Review("A1", "A1/target", "Fine words.", 4.0, "Boils"),
        Item("A1#2/00001", "", "A pan"),
        Review("A1#2", "A1#2/00001", "Pans.", 5.0, "Good"),
        Item("A1#2/target", "", "Write."),
        Review("A1#2", "A1#2/target", "Fine words."),
    ]


def test_abstracts_and_posts_of_longlamp(tmp_path):
    row = {
        "name": "N",
        "input": 'Generate an abstract for the title "T" using the following items: 1. x',
        "output": "We.",
        "profile": [{"id": "1", "title": "Old", "abstract": "They.", "year": 2012}],
    }
    item, review, target, real = read(tmp_path, row)
    assert item == Item("N/00001", "Old", "", "Generate an abstract for the title") and review.text == "They."
    assert target.description == '"T" using the following items: 1. x' and real.timestamp == review.timestamp
    row = {
        "author": "B",
        "input": "Generate the content for a reddit post Cats: why",
        "output": "Meow",
        "profile": [{"author": "B", "content": "Dogs.", "id": "x", "summary": "On dogs"}],
    }
    item, review, target, real = read(tmp_path, row)
    assert (item.description, review.text, target.description, real.text) == ("On dogs", "Dogs.", "Cats: why", "Meow")


def test_questions_are_requests(tmp_path):
    path = write_lamp(tmp_path, "test", headlines(2)[0], None)
    lines = list(read_requests(path))
    assert [(line.id, line.asked["user_id"], line.asked["asin"]) for line in lines] == [
        ("40", "40", "40/target"),
        ("41", "41", "41/target"),
    ]


def test_times_of_a_profile_around_the_year_1970(tmp_path):
    questions, outputs = headlines(1, 2, dated=True)
    for entry, year in zip(questions[0]["profile"], (1970, 1965), strict=True):
        entry["date"] = str(year)
    reviews = good(open_reviews(write_lamp(tmp_path, "dev", questions, outputs)), Review)
    assert [review.timestamp for review in reviews[:2]] == [0.0, -157766400.0] and reviews[-1].timestamp == 0.0


@pytest.mark.parametrize(
    ("value", "date"), [("2014-5-20", (2014, 5, 20)), ("2014-05", (2014, 5, 1)), ("2014", (2014, 1, 1)), (2014, (2014, 1, 1))]
)
def test_a_year_is_one_as_a_number_too(tmp_path, value, date):
    entries = [{"id": "1", "title": "Old", "abstract": "They.", "year": value}, {"id": "2", "title": "No", "abstract": "When."}]
    row = {"name": "N", "input": 'Generate an abstract for the title "T"', "profile": entries}
    dated, undated = good(read(tmp_path, row), Review)
    assert (dated.timestamp, undated.timestamp) == (datetime(*date, tzinfo=UTC).timestamp(), None)
