"""The swap test on a real store and a real (tiny, random) backbone and adapter."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from depcli import methods
from depcli.evaluation import phases
from depcli.evaluation.measures import swap
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.evaluation.measures.swap import HISTORY, TEXT, VECTORS, strangers, swapped, variants
from depcli.personal.choices import Choices
from depcli.personal.history import known_before
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.records import Slot
from depcli.splits.split import Target, by_user, leave_last_out, pairs_of
from tests.evaluation.world import make_writers


@pytest.fixture(scope="module")
def split(snapshot):
    return leave_last_out(snapshot)


@pytest.fixture(scope="module")
def writers(snapshot, engine, split):
    return make_writers(snapshot, engine, split)


def test_a_stranger_of_a_method_that_pools_the_history_pools_as_many_reviews(snapshot, engine, split, writers):
    pooling = PromptBuilder(
        snapshot,
        methods.find("pplug"),
        Template("compact"),
        engine.chat,
        engine.count,
        k=2,
        held_out=split.held_out,
        embed=lambda texts: np.zeros((len(texts), snapshot.embedder.dimension), np.float32),
    )
    both = {"rag": writers["rag"], "pplug": SimpleNamespace(builder=pooling)}
    pairs = {
        str(i): (target, request, text)
        for i, (target, (request, text)) in enumerate(zip(split.test, pairs_of(split.test, snapshot), strict=True))
    }
    work = SimpleNamespace(methods=both, pairs=pairs, log=lambda name: SimpleNamespace(entries=[]))
    _, swaps = phases.swaps_of(work, snapshot, split.test)
    (pooled, _), (shown, _) = swaps["pplug"], swaps["rag"]
    assert 0 < len(pooled) < len(shown) == len(split.test), "with two reviews in a prompt everybody has a stranger"
    own = pooling.build_all(request for _, _, _, request, _, _ in pooled)
    for mine, strangers_ in zip(own, swap.mixed(both["pplug"], pooled), strict=True):
        assert len(mine.pooled) == len(strangers_.pooled) and mine.pooled[0].user_id != strangers_.pooled[0].user_id
    assert max(len(mine.pooled) for mine in pooling.build_all(request for _, _, _, request, _, _ in pooled)) > 2


@pytest.fixture(scope="module")
def drawn(snapshot, split):
    return strangers(by_user(snapshot), split.test, split.test, shown=99)


def embeddings(prompt) -> list[bytes]:
    return [part.embedding.tobytes() for part in prompt.parts if isinstance(part, Slot) and part.embedding is not None]


def test_a_stranger_wrote_as_much_or_as_much_as_is_shown_and_never_of_the_item(snapshot, split, drawn):
    histories = snapshot.histories(snapshot.user_ids())
    requests = {target.key: request for target, (request, _) in zip(split.test, pairs_of(split.test, snapshot), strict=True)}

    def before(target: Target) -> int:
        return len(known_before(histories[target.user_id], requests[target.key]))

    def fits(other: Target, target: Target, shown: int) -> bool:
        reviewed = {entry.review.asin for entry in histories[other.user_id]}
        enough = before(other) >= min(before(target), shown)
        return other.user_id != target.user_id and enough and target.asin not in reviewed

    assert 0 < len(drawn) < len(split.test), "some have a stranger, and the one who wrote most does not"
    for shown in (99, 3):
        for target, found in ((target, strangers(by_user(snapshot), [target], split.test, shown)) for target in split.test):
            possible = [other for other in split.test if fits(other, target, shown)]
            assert (found[target.key] in possible) if possible else not found


def everybody(users: list[Target], written: dict[str, str]) -> dict[str, list[Target]]:
    """Users with one review, of the item that they have `written` about, or of another one."""
    items = {target.user_id: "y" for target in users} | written
    return {user: [Target(user, item, None)] for user, item in items.items()}


def test_strangers_depend_on_the_target_alone_and_are_drawn_evenly(snapshot, split, drawn):
    few = split.test[::2]
    found = strangers(by_user(snapshot), few, split.test, shown=99)
    assert found == {target.key: drawn[target.key] for target in few if target.key in drawn}
    pool, targets = [[Target(f"{kind}{i}", "x", None) for i in range(n)] for kind, n in (("pool", 40), ("asks", 4000))]
    written = {f"pool{i}": "x" for i in range(20)}
    times = Counter(other.user_id for other in strangers(everybody([*pool, *targets], written), targets, pool, shown=0).values())
    assert sorted(times) == sorted(f"pool{i}" for i in range(20, 40)) and sum(times.values()) == 4000
    assert 150 < min(times.values()) and max(times.values()) < 250, "200 each, give or take 14"
    all_but_one = {f"pool{i}": "x" for i in range(39)}
    found = strangers(everybody([*pool, *targets], all_but_one), targets[:200], pool, shown=0)
    assert {other.user_id for other in found.values()} == {"pool39"} and len(found) == 200


def test_what_can_be_swapped_of_each_method():
    compact, vectors = Template("compact"), Template("compact-vectors")
    found = {name: variants(method, Choices(), compact) for name, method in methods.METHODS.items()}
    assert found == {
        "nonperso": (),
        "rag": (HISTORY,),
        "pag": (HISTORY,),
        "dpl": (HISTORY,),
        "drp": (HISTORY,),
        "pplug": (HISTORY,),
        "trained-prompt": (HISTORY,),
        "dep": (HISTORY, TEXT, VECTORS),
    }
    assert variants(methods.find("dep"), Choices(embeddings="none"), compact) == (HISTORY,)
    shows_no_text = {name: variants(methods.find(name), Choices(), vectors) for name in ("rag", "dpl", "dep")}
    assert shows_no_text == {"rag": (), "dpl": (HISTORY,), "dep": (HISTORY,)}


@pytest.mark.parametrize(
    "shown, with_text, without",
    [
        ("{{ past.item_title }} {{ '%.1f' | format(past.rating) }}", True, True),  # reviews without a rating are not to be met
        ("{{ past.title }}", True, False),
        ("{{ past.text | clip(40) }}", True, False),
        ("Something. {{ past.slots }}", False, False),
    ],
)
def test_what_can_be_swapped_depends_on_what_a_template_shows_of_past_reviews(shown, with_text, without, tmp_path):
    blocks = "{% block system %}Write.{% endblock %}{% block user %}", "{% for past in history %}", "{% endfor %}{% endblock %}"
    (tmp_path / "mine.jinja").write_text("".join((*blocks[:2], shown, blocks[2])))
    template = Template(str(tmp_path / "mine.jinja"))
    for review_text, expected in ((True, with_text), (False, without)):
        choices = Choices(review_text=review_text)
        assert variants(methods.find("rag"), choices, template) == ((HISTORY,) if expected else ())
        assert variants(methods.find("dep"), choices, template) == ((HISTORY, TEXT, VECTORS) if expected else (HISTORY,))


def test_three_times_the_same_request_is_the_own_prompt(snapshot, split, writers):
    requests = [request for request, _ in pairs_of(split.test, snapshot)]
    for writer in writers.values():
        own = list(writer.builder.build_all(requests))
        for prompt, mixed in zip(own, writer.builder.build_mixed((r, r, r) for r in requests), strict=True):
            assert mixed.render() == prompt.render() and embeddings(mixed) == embeddings(prompt)


def test_text_and_vectors_are_each_whose_they_should_be(snapshot, split, writers, drawn):
    builder = writers["dep"].builder
    for target, (request, _) in zip(split.test, pairs_of(split.test, snapshot), strict=True):
        if target.key not in drawn:
            continue
        other = drawn[target.key]
        foreign = replace(request, user_id=other.user_id, before=(other.timestamp, other.asin))
        own, theirs = builder.build(request), builder.build(foreign)
        swaps = {TEXT: (foreign, request), VECTORS: (request, foreign), HISTORY: (foreign, foreign)}
        for what, (texts, vectors) in swaps.items():
            (mixed,) = builder.build_mixed([(request, texts, vectors)])
            assert [past.review for past in mixed.shown] == [
                past.review for past in (theirs if texts is foreign else own).shown
            ], what
            assert embeddings(mixed) == embeddings(theirs if vectors is foreign else own), what
            assert request.item.title in mixed.render()


def test_lines_are_the_likelihood_after_the_mixed_prompt(snapshot, split, writers, drawn, engine):
    scorer = WeightsScorer(lambda: engine.model, engine.tokenizer, 50)
    todo = [
        (f"{i}", variant, target, request, text, drawn[target.key])
        for i, (target, (request, text)) in enumerate(zip(split.test, pairs_of(split.test, snapshot), strict=True))
        if target.key in drawn
        for variant in (HISTORY, TEXT, VECTORS)
    ]
    found = list(swapped("dep", writers["dep"], todo, scorer))
    assert [(line["id"], line["variant"]) for line in found] == [(key, variant) for key, variant, *_ in todo]
    assert all(line["stranger"] == swap.by_hash(other).hex()[:16] for line, (*_, other) in zip(found, todo, strict=True))
    builder = writers["dep"].builder
    for line, (_, variant, _, request, text, other) in zip(found, todo, strict=True):
        foreign = replace(request, user_id=other.user_id, before=(other.timestamp, other.asin))
        if variant == HISTORY:  # built the plain way: as if the stranger were to review the item
            (expected,) = scorer.likelihoods([(writers["dep"].soft(builder.build(foreign)), text)])
            assert line["nats"] == pytest.approx(expected.nats, rel=1e-5) and line["tokens"] == expected.tokens
    by_variant = {what: [line["nats"] for line in found if line["variant"] == what] for what in (HISTORY, TEXT, VECTORS)}
    assert not np.allclose(by_variant[HISTORY], by_variant[TEXT]) and not np.allclose(by_variant[TEXT], by_variant[VECTORS])


def test_a_shorter_history_is_not_compared_with_a_longer_one(snapshot, split, writers):
    """The own history has one review, the stranger's more: only the newest of these is shown."""
    request, _ = next(pairs_of(split.test, snapshot))
    history = snapshot.histories([request.user_id])[request.user_id]
    early = replace(request, before=(history[1].review.timestamp, history[1].review.asin))
    other = next(target for target in split.test if target.user_id != request.user_id)
    foreign = replace(request, user_id=other.user_id, before=(other.timestamp, other.asin))
    builder = writers["rag"].builder
    assert len(builder.build(early).shown) == 1 and len(builder.build(foreign).shown) == 2
    (mixed,) = builder.build_mixed([(early, foreign, foreign)])
    assert [past.review for past in mixed.shown] == [builder.build(foreign).shown[-1].review]
