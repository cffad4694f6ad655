"""What is shown of users and items, recomputed from the reviews the slow way."""

from __future__ import annotations

import numpy as np
import pytest

from depcli.actions import portraits
from depcli.errors import NotFound
from depcli.records import Item, Review
from depcli.store import Store
from tests.store.made import IDENTITY, some_reviews, upsert, vector_of

REVIEWS = [*some_reviews(users=20), Review("user1", "alone", "nobody else wrote about it", 2.0, "", 50.0)]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("portraits"), IDENTITY)
    upsert(store, REVIEWS, [Item("item1", "First", "Number one"), Item("unread", "Nobody read it")])
    return store.snapshot()


def peers_of(review: Review) -> list[Review]:
    return [other for other in REVIEWS if other.asin == review.asin and other.user_id != review.user_id]


def slow_difference(review: Review) -> np.ndarray:
    return np.mean([vector_of(review.text).astype(np.float64) - vector_of(peer.text) for peer in peers_of(review)], axis=0)


def slow_cosine(one: str, other: str) -> float:
    return float(vector_of(one).astype(np.float64) @ vector_of(other).astype(np.float64))


@pytest.mark.parametrize("user", ["user0", "user1", "user3"])
def test_a_user_with_peers_and_differences(snapshot, user):
    document = portraits.of_user(snapshot, user, most=100, vectors=True)
    own = {review.asin: review for review in REVIEWS if review.user_id == user}
    assert document["reviews"] == len(document["history"]) == len(own)
    times = [past["timestamp"] for past in document["history"]]
    assert times == sorted(times, key=lambda time: (time is not None, time))
    for past in document["history"]:
        review = own[past["asin"]]
        assert (past["text"], past["rating"], past["timestamp"]) == (review.text, review.rating, review.timestamp)
        assert past["vector"] == vector_of(review.text).tolist() and past["peers"] == len(peers_of(review))
        assert past["item_title"] == ("First" if review.asin == "item1" else "")
        if past["peers"]:
            assert np.abs(np.array(past["difference_vector"]) - slow_difference(review)).max() < 1e-6
            assert past["difference"] == pytest.approx(np.linalg.norm(slow_difference(review)), abs=1e-6)
        else:
            assert past["difference"] is None and past["difference_vector"] is None
    lengths = [entry["difference"] for entry in document["most_different"]]
    assert lengths == sorted((past["difference"] for past in document["history"] if past["peers"]), reverse=True)
    for entry in document["most_different"]:
        review = own[entry["asin"]]
        ranked = sorted(peers_of(review), key=lambda peer: slow_cosine(review.text, peer.text))
        for end, expected in (("farthest", ranked[0]), ("nearest", ranked[-1])):
            assert entry[end]["text"] == expected.text and entry[end]["user_id"] == expected.user_id
            assert entry[end]["cosine"] == pytest.approx(slow_cosine(review.text, expected.text), abs=1e-6)


def test_only_as_many_differences_as_asked_for_and_vectors_only_on_request(snapshot):
    document = portraits.of_user(snapshot, "user1", most=2)
    assert len(document["most_different"]) == 2 and not any("vector" in past for past in document["history"])
    assert portraits.of_user(snapshot, "user1", most=0)["most_different"] == []


def test_an_item_with_everybody_who_reviewed_it(snapshot):
    document = portraits.of_item(snapshot, "item1", vectors=True)
    about = [review for review in REVIEWS if review.asin == "item1"]
    assert (document["title"], document["description"], document["reviews"]) == ("First", "Number one", len(about))
    assert {review["user_id"] for review in document["reviewers"]} == {review.user_id for review in about}
    for shown in document["reviewers"]:
        (review,) = (review for review in about if review.user_id == shown["user_id"])
        assert shown["text"] == review.text and shown["vector"] == vector_of(review.text).tolist()
        assert shown["difference"] == pytest.approx(np.linalg.norm(slow_difference(review)), abs=1e-6)
    ratings = [review.rating for review in about]
    assert document["ratings"]["mean"] == pytest.approx(np.mean(ratings))
    assert document["ratings"]["deviation"] == pytest.approx(np.std(ratings))
    assert {float(rating): count for rating, count in document["ratings"]["counts"].items()} == {
        rating: ratings.count(rating) for rating in set(ratings)
    }


def test_items_with_one_review_with_none_and_without_ratings(snapshot):
    (alone,) = portraits.of_item(snapshot, "alone")["reviewers"]
    assert alone["difference"] is None and alone["user_id"] == "user1"
    unread = portraits.of_item(snapshot, "unread")
    assert (unread["reviews"], unread["reviewers"], unread["ratings"], unread["title"]) == (0, [], None, "Nobody read it")
    assert portraits.of_item(snapshot, "item4")["ratings"] is None


def test_who_and_what_is_not_there(snapshot):
    for portray in (portraits.of_user, portraits.of_item):
        with pytest.raises(NotFound, match="'; DROP") as caught:
            portray(snapshot, "'; DROP")
        assert "it knows" in caught.value.hint


def test_equal_distances_are_told_apart_by_the_user(tmp_path):
    store = Store.create(tmp_path, IDENTITY)
    upsert(store, [Review(user, "i", "same words") for user in "cadb"])
    (entry,) = portraits.of_user(store.snapshot(), "b")["most_different"]
    assert entry["nearest"]["user_id"] == entry["farthest"]["user_id"] == "a" and entry["difference"] == pytest.approx(0)


def test_as_of_a_moment_a_user_and_an_item_look_as_if_nothing_had_been_written_later(snapshot, tmp_path):
    store = Store.create(tmp_path, IDENTITY)
    early = [review for review in REVIEWS if review.timestamp is not None and review.timestamp <= 102.0]
    upsert(store, early, [Item("item1", "First", "Number one"), Item("unread", "Nobody read it")])
    past, never = Store.open(snapshot._folder.parent).snapshot(as_of=102.0), store.snapshot()

    def same(shown: dict, expected: dict) -> None:
        assert {**shown, "store_commit": None} == {**expected, "store_commit": None}

    same(portraits.of_user(past, "user1", most=100), portraits.of_user(never, "user1", most=100))
    same(portraits.of_item(past, "item1"), portraits.of_item(never, "item1"))
    assert portraits.of_user(snapshot, "user1")["reviews"] > portraits.of_user(past, "user1")["reviews"] > 0
