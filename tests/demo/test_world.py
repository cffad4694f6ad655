from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict

from depcli.demo.cast import PEOPLE, REMARKS, THINGS
from depcli.demo.world import REVIEWS_PER_PERSON, world
from depcli.records import stable_order

_DIGEST = """
import hashlib, sys
from depcli.demo.world import world
sys.stdout.write(hashlib.sha256(repr(world({seed})).encode()).hexdigest())
"""


def digest(seed: int, hash_seed: str) -> str:
    command, environment = [sys.executable, "-c", _DIGEST.format(seed=seed)], {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_the_same_seed_gives_the_same_world_in_every_process():
    assert digest(0, "1") == digest(0, "2") != digest(1, "1")


def test_everybody_writes_equally_much_and_every_item_has_peers():
    reviews, items = world()
    assert set(Counter(review.user_id for review in reviews).values()) == {REVIEWS_PER_PERSON}
    assert len({review.user_id for review in reviews}) == len(PEOPLE) == 30
    reviewers = Counter(review.asin for review in reviews)
    assert set(reviewers) == {item.asin for item in items} and len(items) == 40
    assert min(reviewers.values()) >= 8
    assert len({(review.user_id, review.asin) for review in reviews}) == len(reviews)


def test_texts_are_readable_whole_and_all_different():
    for seed in (0, 1):
        reviews, items = world(seed)
        texts = [review.text for review in reviews]
        assert len(set(texts)) == len(texts)
        assert all(15 <= len(text.split()) <= 70 for text in texts)
        assert not [text for text in texts if "{" in text or "|" in text or "  " in text or text != text.strip()]
        assert all(item.title and item.description and len(item.description) <= 120 for item in items)


def test_time_goes_on_and_tells_a_persons_reviews_apart():
    by_person = defaultdict(list)
    for review in world()[0]:
        by_person[review.user_id].append(review)
    for reviews in by_person.values():
        assert sorted(reviews, key=stable_order) == reviews
        assert len({review.timestamp for review in reviews}) == len(reviews)


def test_ratings_are_whole_stars_and_use_the_scale():
    ratings = Counter(review.rating for review in world()[0])
    assert set(ratings) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert all(count >= 10 for count in ratings.values())


def test_a_person_is_known_by_their_words():
    """A nearest-neighbour guess of the author from word counts is nearly always right: there is something to personalize."""
    reviews, _ = world()
    words = [Counter(review.text.split()) for review in reviews]

    def likeness(a: Counter, b: Counter) -> float:
        return sum((a & b).values()) / max(a.total(), b.total())

    right = 0
    for i in range(0, len(reviews), 7):
        nearest = max((j for j in range(len(reviews)) if j != i), key=lambda j: likeness(words[i], words[j]))
        right += reviews[nearest].user_id == reviews[i].user_id
    assert right / len(range(0, len(reviews), 7)) > 0.9


def test_people_rate_what_they_like_higher():
    """Ratings follow taste, not chance: a trait that somebody likes brings stars, one that they dislike costs some."""
    people, things = {person.user_id: person for person in PEOPLE}, {thing.asin: thing for thing in THINGS}
    liked, disliked = [], []
    for review in world()[0]:
        person, traits = people[review.user_id], set(things[review.asin].traits)
        if traits & set(person.likes) and not traits & set(person.dislikes):
            liked.append(review.rating)
        if traits & set(person.dislikes) and not traits & set(person.likes):
            disliked.append(review.rating)
    assert min(len(liked), len(disliked)) > 50
    assert sum(liked) / len(liked) > sum(disliked) / len(disliked) + 1


def test_the_tables_of_the_world_fit_together():
    traits = {trait for thing in THINGS for trait in thing.traits}
    assert traits == set(REMARKS.liked) == set(REMARKS.disliked)
    assert {trait for person in PEOPLE for trait in (*person.likes, *person.dislikes)} <= traits
    assert all(not set(person.likes) & set(person.dislikes) for person in PEOPLE)
    assert {thing.kind for thing in THINGS} == set(REMARKS.good) == set(REMARKS.bad)
    assert len({thing.asin for thing in THINGS}) == len({thing.title for thing in THINGS}) == len(THINGS)
    for person in PEOPLE:
        assert set(person.plan) <= set("oatvxs")
        assert ("x" in person.plan) == bool(person.aside) and ("s" in person.plan) == bool(person.sign_off)
