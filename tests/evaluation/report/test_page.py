"""The page of a real evaluation, of people who write markup and worse."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from depcli.errors import DepError, NotFound
from depcli.evaluation import predictions as files
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.evaluation.report.page import render, requests, settings_rows, visible, write_page
from depcli.evaluation.run import evaluate
from depcli.records import Sampling
from depcli.splits.split import choose, leave_last_out
from depcli.store.upkeep import erase
from depcli.system import resumable
from tests.evaluation.report.test_tables import made
from tests.evaluation.world import USERS, make_store, make_writers, reviews

EVIL = (
    '</p></article><script>alert(1)</script><img src="https://evil.example/x.png" onerror="alert(2)"> {{ 7 * 7 }} {% raw %} '
    "\u202eturned\u202c \x1b[31mred\x00 & <style>*{display:none}</style> ]]> <!-- "
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def evaluated(engine, tmp_path_factory):
    """(folder, results, snapshot) of people whose every review is evil."""
    place = tmp_path_factory.mktemp("page")
    entries = [replace(review, text=f"{review.text} {EVIL}", title=EVIL if review.title else "") for review in reviews()]
    snapshot = make_store(place / "profiles", entries).snapshot()
    split = leave_last_out(snapshot)
    names = ("nonperso", "rag", "dep")
    results = evaluate(
        snapshot=snapshot,
        split=split,
        targets=choose(split, "test"),
        methods=make_writers(snapshot, engine, split, names),
        scorer=WeightsScorer(lambda: engine.model, engine.tokenizer, 40),
        sampling=Sampling(max_new_tokens=8),
        out=place / "run",
        settings={"backbone": {"name": "tiny"}, "engine": "transformers", "evil": EVIL},
        strangers_from=split.test,
    )
    lines = list(resumable.read_lines(place / "run" / files.PREDICTIONS))
    lines[-1]["prediction"] = f"{EVIL} \ud800"
    lines[0]["prediction"] = " \n"
    resumable.write_lines(place / "run" / files.PREDICTIONS, lines)
    return place / "run", results, snapshot


@pytest.fixture(scope="module")
def page(evaluated, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "page.html"
    out, results, snapshot = evaluated
    write_page(path, results, out, snapshot)
    return path


def test_no_page_is_written_after_somebody_was_forgotten(evaluated, tmp_path, monkeypatch):
    out, results, _ = evaluated
    store = make_store(tmp_path / "profiles")

    def forget(results, shown):
        with store.writer() as writer:
            erase.forget(writer.tables, [store.snapshot().user_ids()[0]], [])
        return "a page with their words"

    monkeypatch.setattr("depcli.evaluation.report.page.render", forget)
    with pytest.raises(NotFound, match="forgotten since"):
        write_page(tmp_path / "page.html", results, out, store.snapshot())
    assert not (tmp_path / "page.html").exists()


class Elements(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def test_what_people_wrote_is_text_and_nothing_else(page):
    text = page.read_text(encoding="utf-8")
    elements = Elements(text)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "a", "base"}
    assert [tag for tag, _ in elements.found].count("style") == 1
    for tag, attributes in elements.found:
        assert not any(name.startswith("on") or name in ("src", "srcset", "action") for name in attributes), (tag, attributes)
        assert tag == "link" or "href" not in attributes
    assert "default-src 'none'" in text
    shown = "".join(elements.texts)
    for said in ("<script>alert(1)</script>", "{{ 7 * 7 }}", "\\u202eturned", "\\x1b[31mred\\x00", "\\ud800"):
        assert said in shown
    assert not re.search("[\u202a-\u202e\x1b\x00]", text)


def test_every_request_shows_the_real_review_each_text_and_the_history(evaluated, page):
    out, results, snapshot = evaluated
    shown = requests(results, out, snapshot)
    assert {one["user"] for one in shown} == set(USERS) and len(shown) == len(USERS)
    elements = "".join(Elements(page.read_text(encoding="utf-8")).texts)
    written = {(line["user_id"], line["method"]): line for line in resumable.read_lines(out / files.PREDICTIONS)}
    for one in shown:
        assert visible(one["real"]) in elements
        assert [text["method"] for text in one["texts"]] == ["nonperso", "rag", "dep"]
        for text in one["texts"]:
            assert text["text"] == written[one["user"], text["method"]]["prediction"]
            assert visible(text["text"]).strip() in elements
        used = [(one["user"], asin) for asin in written[one["user"], "rag"]["shown"]]
        past = snapshot.reviews(used)
        assert [entry["text"] for entry in one["history"]] == [past[key].text for key in used] and used
    assert "nothing" in elements, "an empty text is said to be one"


def test_the_page_has_all_of_the_results(evaluated, page):
    _, results, _ = evaluated
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") >= 5 and "Swap test" in text and "few users (5)" in text
    assert results["settings"]["split_digest"] in text and "rouge-score" in text and "transformers" in text
    assert page.stat().st_mode & 0o077 == 0, "it holds what people wrote"


def test_a_page_of_many_methods_hides_the_pairs_that_are_not_dep_s():
    text = render(made(nonperso=0.0, rag=0.1, dep=0.5, pag=0.2), [])
    assert "all 12 comparisons" in text and text.count('class="won"') >= 6
    assert 'class="best"' in text


def test_a_page_that_cannot_be_written_is_an_error_with_words(evaluated, tmp_path):
    out, results, snapshot = evaluated
    (tmp_path / "file").write_text("")
    with pytest.raises(DepError, match="cannot write"):
        write_page(tmp_path / "file" / "page.html", results, out, snapshot)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("window", ["1200,900", "390,844"])
def test_a_browser_shows_it_without_a_word_on_its_console(page, tmp_path, window):
    asked = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'chrome'}",
        f"--window-size={window}",
        "--enable-logging=stderr",
        f"--screenshot={tmp_path / 'page.png'}",
        page.as_uri(),
    ]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_settings_are_words_and_the_date_is_one():
    rows = dict(
        settings_rows(
            {
                "sampling": {"temperature": 0.8, "schema": None},
                "swap": True,
                "adapters": {},
                "seeds": [1, 2],
                "choices": {"rag": {"retrieval": "bm25"}, "dep": {"retrieval": "bm25"}},
                "other": {"a": {"x": 1}, "b": {"x": 2}},
                "best_epoch": 0,
                "as_of": 1747440001.0,
            }
        )
    )
    assert rows == {
        "sampling · temperature": "0.8",
        "sampling · schema": "–",
        "swap": "yes",
        "adapters": "–",
        "seeds": "1, 2",
        "choices · rag, dep · retrieval": "bm25",
        "other · a · x": "1",
        "other · b · x": "2",
        "as of": "2025-05-17 00:00:01 UTC",
    }
    text = render(made(nonperso=0.0, rag=0.1), [])
    assert "21 November 2026, 23:05 UTC" in text and "{&#34;" not in text and "T23:05" not in text


def test_studies_and_training_are_drawn():
    results = made(one=0.0, two=0.3)
    results["study"] = {
        "name": "k",
        "about": "a",
        "reference": "two",
        "missing": {},
        "variants": {name: {"method": "rag", "adapter": None, "history": k} for k, name in ((1, "one"), (8, "two"))},
    }
    epochs = [{"epoch": 0, "loss": 4.5}, {"epoch": 1, "loss": 4.25}]
    results["training"] = {
        "one": {"adapter": "mini", "best_epoch": 1, "epochs": epochs, "text_alone": {"rag": 4.4}, "options": {}}
    }
    text = render(results, [])
    assert "K curve: METEOR over the past reviews shown" in text and text.count("rag, past reviews shown (K) 8:") == 3
    assert "validation loss of mini" in text and "kept: epoch 2" in text and "one, epoch 1: 4.5000" in text
    part = {"targets": 20, "users": 20, "differences": []}
    values = {name: {"nll": {"value": 4.0 + i, "se_users": 0.1}} for i, name in enumerate(results["methods"])}
    results["study"], results["groups"] = (
        None,
        {
            "parts": [{"name": "unique", "methods": values, **part}, {"name": "others", "methods": values, **part}],
            "between": [],
        },
    )
    text = render(results, [])
    assert "Unique users and the others" in text and "NLL/token of unique and others users" in text and "K curve" not in text


def test_a_review_says_how_far_it_is_from_those_of_others(evaluated):
    out, results, snapshot = evaluated
    shown = requests(results, out, snapshot)
    asins = {stored.review.asin for stored in snapshot.histories(["ann"])["ann"]}
    everybody = snapshot.reviewers(sorted(asins))
    one = next(request for request in shown if request["user"] == "ann")
    target = next(line["asin"] for line in resumable.read_lines(out / files.PREDICTIONS) if line["user_id"] == "ann")
    own = next(entry for entry in everybody[target] if entry.review.user_id == "ann").vector
    others = [entry.vector for entry in everybody[target] if entry.review.user_id != "ann"]
    distance = np.linalg.norm(own - np.mean(others, axis=0))
    assert one["apart"] == f"{distance:.2f} from the mean of {len(others)} other review{'s' * (len(others) > 1)} of it"
    assert all(past["apart"] for past in one["history"])
