"""DPL's filter against a slow and obvious loop over lists, and on small cases where it is plain what has to go."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace

import pytest

from depcli.errors import BadInput
from depcli.filtering.dpl import DUPLICATE, DplFilter
from depcli.filtering.rules import Thresholds, thresholds
from depcli.readers import BadLine, open_reviews, read_items
from depcli.records import Item, Review, stable_order
from tests.store.made import DATA

SMALL = Thresholds(
    text=5, description=10, description_max=40, reviewers=3, reviews=4, reviews_max=9, targets=2, profile=2, profile_reviewers=2
)


def run(entries, limits):
    """(what stays, the filter)."""
    chooser = DplFilter(limits)
    assert list(chooser.look(entries)) == list(range(1, 1 + sum(isinstance(entry, Review) for entry in entries)))
    chooser.decide()
    kept = list(chooser.kept(entries))
    reviews = [entry for entry in kept if isinstance(entry, Review)]
    users, items = {review.user_id for review in reviews}, {review.asin for review in reviews}
    assert chooser.staying == {"reviews": len(reviews), "users": len(users), "items": len(items)}
    assert sum(dropped.reviews for dropped in chooser.dropped) == len(chooser.keep) - len(reviews)
    return kept, chooser


def slow(entries, limits):
    """The same step by step: DPL's script in lists, with our order among equal times."""
    items = {entry.asin: entry for entry in entries if isinstance(entry, Item)}

    def described(review):
        item = items.get(review.asin, Item(""))
        long = limits.description_max and len(item.description) > limits.description_max
        return len(item.title) >= limits.item_title and len(item.description) >= limits.description and not long

    rows = [
        (number, review)
        for number, review in enumerate(entry for entry in entries if isinstance(entry, Review))
        if len(review.text) >= limits.text
        and len(review.title) >= limits.title
        and described(review)
        and (review.rating is not None or not limits.rated)
        and (review.timestamp is not None or not limits.dated)
    ]

    def unique(rows):
        by_user = defaultdict(list)
        for number, review in rows:
            by_user[review.user_id].append((number, review))
        for user, theirs in by_user.items():
            theirs.sort(key=lambda row: (stable_order(row[1]), row[0]), reverse=True)
            asins, texts, kept = set(), set(), []
            for number, review in theirs:
                text = " ".join(review.text.split())
                if review.asin not in asins and text not in texts:
                    asins.add(review.asin)
                    texts.add(text)
                    kept.append((number, review))
            by_user[user] = kept
        return by_user

    while True:
        by_user, by_item = unique(rows), defaultdict(set)
        for _, review in rows:
            by_item[review.asin].add(review.user_id)
        most = limits.reviews_max or float("inf")
        left = [
            (number, review)
            for number, review in rows
            if len(by_item[review.asin]) >= limits.reviewers and limits.reviews <= len(by_user[review.user_id]) <= most
        ]
        if len(left) == len(rows):
            break
        rows = left
    split = {}
    for user, theirs in unique(rows).items():
        oldest_first = theirs[::-1]
        cut = max(len(oldest_first) - limits.targets, 0)
        split[user] = oldest_first[:cut], oldest_first[cut:]
    while True:
        by_item = defaultdict(set)
        for user, (profile, _) in split.items():
            for _, review in profile:
                by_item[review.asin].add(user)
        after = {}
        for user, (profile, targets) in split.items():
            profile = [row for row in profile if len(by_item[row[1].asin]) >= limits.profile_reviewers]
            if len(profile) >= limits.profile:
                after[user] = profile, targets
        same = after == split
        split = after
        if same:
            break
    chosen = {number for profile, targets in split.values() for number, _ in profile + targets}
    reviews = [entry for entry in entries if isinstance(entry, Review)]
    return [reviews[number] for number in sorted(chosen)]


def made(seed: int) -> list[Review | Item]:
    """Reviews full of ties, duplicates, missing fields and a few prolific users."""
    rng = random.Random(seed)
    users, things = rng.randint(3, 16), rng.randint(3, 12)
    entries: list = [
        Item(f"i{n}", rng.choice(["T"] * 6 + [""]), "d" * rng.choice([15] * 8 + [0, 9, 50]))
        for n in range(things)
        if rng.random() < 0.95
    ]
    for _ in range(rng.randint(20, 160)):
        text = rng.choice(
            [f"some words {rng.randint(0, 400)}", f"some  words\n{rng.randint(0, 3)}", "four"][: rng.choice([1, 1, 2, 3])]
        )
        user = min(rng.randint(0, users), rng.randint(0, users))
        entries.append(
            Review(
                f"u{user}",
                f"i{rng.randint(0, things)}",
                text,
                rng.choice([None] + [4.0] * 20),
                rng.choice(["t"] * 20 + [""]),
                rng.choice([None] + [float(rng.randint(0, 30))] * 20),
            )
        )
    rng.shuffle(entries)
    return entries


def test_the_same_as_the_slow_loop_on_random_data():
    survivors, rounds, rules = 0, 0, set()
    for seed in range(200):
        entries = made(seed)
        limits = replace(SMALL, reviews_max=seed % 3 * 9, dated=seed % 2, title=seed % 2, profile=seed % 4, targets=seed % 5)
        kept, chooser = run(entries, limits)
        assert [entry for entry in kept if isinstance(entry, Review)] == slow(entries, limits), seed
        survivors += bool(chooser.keep.any())
        rounds = max([rounds, *(dropped.round for dropped in chooser.dropped)])
        rules.update(dropped.rule for dropped in chooser.dropped)
    assert survivors > 30 and rounds >= 4  # or nothing was compared
    assert len({rule.split(" ")[0] + rule[-8:] for rule in rules}) >= 9 and DUPLICATE in rules


def test_one_rule_brings_down_the_next_round_by_round():
    limits = Thresholds(text=1, description=1, reviewers=2, reviews=2, targets=0, profile=0, profile_reviewers=0)
    pairs = [("a", "1"), ("b", "1"), ("b", "2"), ("c", "2"), ("c", "3"), ("x", "8"), ("x", "9"), ("y", "8"), ("y", "9")]
    entries = [Item(str(n), "T", "d") for n in range(10)]
    entries += [Review(user, item, f"{user} on {item}", 3.0, "t", 1.0) for user, item in pairs]
    kept, chooser = run(entries, limits)
    assert {entry.user_id for entry in kept if isinstance(entry, Review)} == {"x", "y"}
    assert [item.asin for item in kept if isinstance(item, Item)] == ["8", "9"]
    assert [(d.round, d.rule, d.reviews, d.of, d.what) for d in chooser.dropped] == [
        (1, "item with fewer than 2 reviewers", 1, 1, "items"),
        (1, "user with fewer than 2 reviews", 1, 1, "users"),
        (2, "item with fewer than 2 reviewers", 1, 1, "items"),
        (2, "user with fewer than 2 reviews", 1, 1, "users"),
        (3, "item with fewer than 2 reviewers", 1, 1, "items"),
    ]


def test_the_newest_of_two_reviews_of_an_item_stays_and_bad_lines_pass():
    limits = Thresholds(text=1, description=0, item_title=0, reviewers=1, reviews=1, targets=0, profile=0, profile_reviewers=0)
    bad = BadLine(1, "reason", "")
    entries = [
        Review("u", "1", "old", 3.0, "t", 1.0),
        bad,
        Review("u", "1", "new", 3.0, "t", 2.0),
        Review("u", "2", " new ", 3.0, "t", 1.5),
    ]
    kept, chooser = run(entries, limits)
    assert kept == [bad, entries[2]] and [d.rule for d in chooser.dropped] == [DUPLICATE]


def test_nothing_at_all():
    assert run([], Thresholds())[0] == [] and run([Item("a", "T", "d")], Thresholds())[0] == []


def test_a_file_that_changes_in_between_is_noticed():
    entries = made(3)
    chooser = DplFilter(SMALL)
    list(chooser.look(entries))
    chooser.decide()
    with pytest.raises(BadInput, match="changed while it was filtered"):
        list(chooser.kept([*entries, Review("u0", "i0", "more")]))


def test_thresholds_are_checked_and_said():
    assert thresholds({}).says("reviewers") == "item with fewer than 8 reviewers"
    assert thresholds({"targets": 3}).says("profile") == "user with fewer than 8 reviews before the last 3"
    with pytest.raises(BadInput, match="no threshold 'word'"):
        thresholds({"word": 3})
    with pytest.raises(BadInput, match="reviews is -1"):
        thresholds({"reviews": -1})


@pytest.mark.skipif(not (DATA / "digital_music").is_dir(), reason="the real reviews are not beside this checkout")
def test_the_slow_loop_on_real_reviews():
    folder, limits = DATA / "digital_music", Thresholds(reviewers=4, reviews=8, targets=2, profile=4, profile_reviewers=3)
    with read_items(folder / "items.jsonl.gz") as items, open_reviews(folder / "corpus.jsonl.gz") as reviews:
        entries = [*items, *reviews]
    kept, _ = run(entries, limits)
    found = [entry for entry in kept if isinstance(entry, Review)]
    assert found == slow(entries, limits) and len(found) > 100
