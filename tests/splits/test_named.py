"""Each split against its definition, told the slow way from the reviews themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from depcli.errors import BadInput
from depcli.records import Item, Review, stable_order
from depcli.splits import named
from depcli.splits.leakage import check_leakage
from depcli.splits.split import leave_last_out
from tests.evaluation.world import make_store
from tests.store.made import upsert


def world() -> list[Review]:
    """Twenty users with 2 to 9 reviews, one a day in turn; user n begins on day n."""
    return [
        Review(f"user{n}", f"item{(n + i) % 13}", f"review {i} of {n}", 3.0, "", 86400.0 * (n + 7 * i))
        for n in range(20)
        for i in range(2 + n % 8)
    ]


REPEATS = {3: 1, 4: 2, 6: 3, 7: 0}  # of a user's reviews the number, and that of an earlier one with its text


@pytest.mark.parametrize("asked", ["leave-last-out", "leave-last-out:2", "time", "unseen-users", "cold-start:3"])
def test_no_target_s_text_is_in_its_history(tmp_path, asked):
    written = {(review.user_id, review.asin): review for review in world()}
    for n in range(0, 20, 3):
        mine = [key for key in written if key[0] == f"user{n}"]
        for late, early in REPEATS.items():
            if late < len(mine):
                written[mine[late]] = replace(written[mine[late]], text=written[mine[early]].text)
    split = named.make(make_store(tmp_path, list(written.values())).snapshot(), asked, targets_per_user=9)
    check_leakage(split)
    targets = [*split.train, *split.validation, *split.test]
    for target in targets:
        own = written[target.key]
        before = [one for one in written.values() if one.user_id == own.user_id and stable_order(one) < stable_order(own)]
        assert before and own.text not in {one.text for one in before}
    tested = {(target.user_id, written[target.key].text) for target in (*split.validation, *split.test)}
    assert {key for key, one in written.items() if (one.user_id, one.text) in tested} <= split.held_out, "copies of it, too"
    repeated = len(written) - len({(one.user_id, one.text) for one in written.values()})
    assert split.repeated == repeated > 9 and f"{repeated} reviews repeat" in split.notes()[0]


def test_the_same_words_for_two_tasks_are_an_answer_to_each(tmp_path):
    written = [
        Review("user", f"article{i}", "Letters to the editor" if i % 2 else f"Headline {i}", None, "", i) for i in range(8)
    ]
    store = make_store(tmp_path, written)
    split = named.make(store.snapshot(), "leave-last-out")
    assert split.repeated == 3 and split.test[0].asin == "article6"
    tasks = [Item(f"article{i}", "", f"What article {i} says", task="Write a headline.") for i in range(8)]
    upsert(store, [], tasks)
    split = named.make(store.snapshot(), "leave-last-out")
    assert split.repeated == 0 and split.test[0].asin == "article7" and split.notes() == []


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("splits"), world()).snapshot()


def histories() -> dict[str, list[Review]]:
    found: dict[str, list[Review]] = {}
    for review in sorted(world(), key=stable_order):
        found.setdefault(review.user_id, []).append(review)
    return found


@pytest.mark.parametrize(
    "asked",
    ["leave-last-out", "leave-last-out:2", "time", "time:1970-03-01", "unseen-users", "unseen-users:0.3", "cold-start:5"],
)
def test_every_split_is_clean_and_found_again_by_its_name(snapshot, asked):
    split = named.make(snapshot, asked, targets_per_user=2)
    check_leakage(split)
    assert split.train and split.validation and split.test
    again = named.make(snapshot, split.name, targets_per_user=2)
    assert again == split and split.name.startswith(asked.partition(":")[0])
    assert named.make(snapshot, split.name).digest != split.digest
    targets = [*split.train, *split.validation, *split.test]
    firsts = {reviews[0].asin for reviews in histories().values()}
    assert all(histories()[t.user_id][0].asin != t.asin for t in targets) and firsts


def test_the_default_is_what_it_always_was(snapshot):
    assert named.make(snapshot, targets_per_user=2) == leave_last_out(snapshot, targets_per_user=2)
    assert named.make(snapshot, "leave-last-out:1") == leave_last_out(snapshot)


def test_after_the_moment_nothing_is_learned_and_nobody_is_a_peer(snapshot):
    day = 59 * 86400  # 1970-03-01
    split = named.make(snapshot, "time:1970-03-01", targets_per_user=2)
    begins = split.since
    assert begins < day
    for user, reviews in histories().items():
        later = reviews[1:]
        assert [t.asin for t in split.test if t.user_id == user] == [r.asin for r in later if r.timestamp >= day][:1]
        between = [r.asin for r in later if begins <= r.timestamp < day]
        assert [t.asin for t in split.validation if t.user_id == user] == between[:1]
        assert [t.asin for t in split.train if t.user_id == user] == [r.asin for r in later if r.timestamp < begins][-2:]
    assert split.held_out == {(r.user_id, r.asin) for r in world() if r.timestamp >= begins}
    share = sum(begins <= r.timestamp < day for r in world()) / sum(r.timestamp < day for r in world())
    assert share == pytest.approx(0.1, abs=0.03)


def test_without_a_moment_the_last_tenth_is_tested(snapshot):
    split = named.make(snapshot, "time")
    moment = named.parse(split.name)[1]
    assert sum(r.timestamp >= moment for r in world()) / len(world()) == pytest.approx(0.1, abs=0.03)


def test_unseen_users_are_in_no_training_and_no_sum(snapshot):
    split = named.make(snapshot, "unseen-users:0.25", targets_per_user=99)
    roles = {role: {t.user_id for t in getattr(split, role)} for role in ("train", "validation", "test")}
    able = {user for user, reviews in histories().items() if len(reviews) >= 4}
    assert roles["train"] | roles["validation"] | roles["test"] == able
    assert len(roles["test"]) == len(roles["validation"]) == round(0.25 * len(able))
    assert not roles["train"] & split.unseen and split.unseen == roles["validation"] | roles["test"]
    assert split.held_out == {(r.user_id, r.asin) for r in world() if r.user_id in split.unseen}
    assert all(t.asin == histories()[t.user_id][-1].asin for t in (*split.test, *split.validation))
    learned = {t.key for t in split.train}
    assert learned == {(r.user_id, r.asin) for user in roles["train"] for r in histories()[user][1:]}


def test_a_larger_share_takes_the_same_users_first(snapshot):
    small, large = ({t.user_id for t in named.make(snapshot, f"unseen-users:{s}").test} for s in (0.1, 0.3))
    assert small < large


def test_cold_start_knows_the_first_reviews_alone(snapshot):
    for known in (1, 2, 3):
        split = named.make(snapshot, f"cold-start:{known}")
        assert {t.user_id for t in split.test} == {t.user_id for t in named.make(snapshot, "unseen-users").test}
        assert all(t.asin == histories()[t.user_id][known].asin for t in (*split.test, *split.validation))
    few = named.make(snapshot, "cold-start:5")
    usual = {t.user_id for t in named.make(snapshot, "unseen-users").test}
    assert {t.user_id for t in few.test} == {user for user in usual if len(histories()[user]) > 5}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("last", "no split 'last'"),
        ("leave-last-out:0", "nothing to evaluate"),
        ("leave-last-out:x", "no whole number"),
        ("unseen-users:0.5", "below one half"),
        ("unseen-users:x", "could not convert"),
        ("cold-start:0", "nothing personal"),
        ("time:yesterday", "no time"),
        ("unseen-users:nan", "below one half"),
        ("time:", "no time"),
        ("", "no split"),
    ],
)
def test_what_is_no_split_says_what_is(asked, words):
    with pytest.raises(BadInput, match=words) as error:
        named.parse(asked)
    assert error.value.hint


@pytest.mark.parametrize(("said", "moment"), [("1971", 31536000), ("1970-03", 5097600), ("19700301", 5097600), ("1000", 1000)])
def test_a_year_month_or_day_is_its_beginning(said, moment):
    assert named.parse(f"time:{said}") == ("time", moment)


def test_a_split_without_tests_or_training_is_refused(snapshot):
    with pytest.raises(BadInput, match="no review to learn or validate on"):
        named.make(snapshot, "time:1960-01-01")
    with pytest.raises(BadInput, match="no review to test"):
        named.make(snapshot, "time:2030-01-01")
    with pytest.raises(BadInput, match="no review to validate on or test"):
        named.make(snapshot, "cold-start:9")


def test_reviews_without_a_time_cannot_be_split_by_it(tmp_path):
    store = make_store(tmp_path / "p", [replace(r, timestamp=None) if i == 3 else r for i, r in enumerate(world())])
    with pytest.raises(BadInput, match="1 reviews have no time") as error:
        named.make(store.snapshot(), "time")
    moment = error.value.hint.partition("--as-of ")[2]
    from depcli.readers.fields import timestamp

    assert named.make(store.snapshot(as_of=timestamp(moment)), "time").test


def test_without_reviews_there_is_no_split_by_time(tmp_path):
    with pytest.raises(BadInput, match="no reviews to split by time"):
        named.make(make_store(tmp_path, []).snapshot(), "time")
