"""What is to be known beside the tables of an evaluation, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from depcli.evaluation.measures import ALIGNMENT
from depcli.evaluation.report import study
from depcli.evaluation.report.tables import told
from depcli.evaluation.report.titles import drawn_from, interval
from depcli.words import count

FEW_USERS, FEWEST = 30, 6  # of fewer than 6 no pattern of signs has a chance below 5 %


def notes_of(results: dict) -> list[str]:
    """Sentences that belong beside the tables."""
    real, seeds = results["real"], results["seeds"]
    times = f"each written {len(seeds)} times (seeds {seeds[0]} to {seeds[-1]})" if len(seeds) > 1 else "each written once"
    lines = [
        f"{count(results['targets'], 'held-out review')} of {count(results['users'], 'user')}, {times}; a real review has "
        f"{real['mean_words']:.1f} words on average; all together distinct-1 {real['distinct1']:.3f}, "
        f"distinct-2 {real['distinct2']:.3f}"
    ]
    over = drawn_from(results["users"])
    lines += [*cautions(results["users"], results["targets"]), *study.notes(results)]
    if len(seeds) > 1:
        lines.append(
            f"standard errors: over {over}, how far other {over} would move a mean; over seeds, how far other sampling seeds "
            "would, for these same reviews"
        )
    if results["differences"]:
        lines += _tests(results)
    lines += _about_swaps(results)
    for counted, said, more in (
        ("stopped_by_length", "texts that ended at the token limit", ""),
        ("unfinished_thoughts", "texts that were all thought, and count as empty", "; more --max-new-tokens may help"),
    ):
        if texts := [f"{name} {found[counted]:,}" for name, found in results["methods"].items() if found[counted]]:
            lines.append(f"{said}: {', '.join(texts)}{more}")
    for name, found in results["methods"].items():
        if found["nll"] and found["nll"]["cut"]:
            lines.append(f"{name}: the likelihood counts only the beginning of {count(found['nll']['cut'], 'long review')}")
        if found["profiles"] and (said := _profiles(found["profiles"])):
            lines.append(f"{name}: {said}")
    if real["alignment_chance"] is not None:
        lines.append(
            f"alignment: a text no more like the real review than the peers' are has {real['alignment_chance']:.4f} on average"
        )
    if others := real["judge_others"]:
        on = others["targets"]
        more = [f"{name} {one['difference']:+.2f} {interval(one, 2)}" for name, one in others["more"].items()]
        some = f" ({on:,} of the {results['targets']:,} have a verdict)" if on < results["targets"] else ""
        beside = f"; beside that {', '.join(more)}" if more else ""
        lines.append(f"judge: what others really wrote about the same items{some} has {others['value']:.2f} on average{beside}")
    undefined = next(iter(results["methods"].values()))["metrics"].get(ALIGNMENT, {}).get("undefined")
    if undefined:
        lines.append(f"alignment: left out where an item has too few other reviewers, {count(undefined, 'review')}")
    return [*lines, *results["notes"], *_time(results["seconds"])]


def tests_done(done: dict, users: int) -> str:
    """What the tests were: `tests` of the results, which are about so many users."""
    over = drawn_from(users)
    return (
        f"intervals: paired bootstrap over {over}, {done['resamples']:,} resamples; p: paired permutation test, at most "
        f"{done['flips']:,} sign flips of the {over}' differences (BLEU: their texts by two methods swapped); "
        f"Holm-corrected for {count(done['corrected_for'], 'comparison')}"
    )


def cautions(users: int, reviews: int) -> list[str]:
    """What to know of tests over so many reviews of so many users, where there are few."""
    if reviews == 1:
        return ["one review: no interval, and nothing here can be significant; more of each user: --split leave-last-out:N"]
    if users == 1:
        few = f"; so few that {rough}" if (rough := _rough(reviews)) else ""
        return [f"one user: intervals and tests are over the {reviews:,} reviews, of this user alone{few}"]
    return few_users(users)


def few_users(users: int) -> list[str]:
    """A caution where it belongs."""
    return [f"few users ({users}): {rough}"] if (rough := _rough(users)) else []


def _rough(drawn: int) -> str:
    """What is wrong with intervals over so many; nothing when they are enough."""
    if drawn < FEWEST:
        return "intervals are too narrow, and nothing can be significant"
    return "intervals are rough" if drawn < FEW_USERS else ""


def _tests(results: dict) -> Iterator[str]:
    done = results["tests"]
    yield tests_done(done, results["users"])
    alone = len(results["methods"]) == 1 or study.tests_reference(results)
    starred = "" if alone else " (*: better than every other method)"
    yield f"better: significant at {done['alpha']:.0%} after that correction{starred}; length and distinct-n are not tested"
    hidden = len(results["differences"]) - len(told(results))
    if hidden:
        yield f"results.json has {count(hidden, 'more comparison')}"


def _time(seconds: dict) -> Iterator[str]:
    """What this run spent where, the most first; nothing where all texts were there."""
    whole = sum(seconds.values())
    if not seconds.get("writing") or seconds["writing"] < whole / 100:
        return
    parts = sorted(seconds.items(), key=lambda part: -part[1])
    yield f"{whole:,.0f} s: " + ", ".join(f"{name} {spent / whole:.0%}" for name, spent in parts if spent >= whole / 200)


def _about_swaps(results: dict) -> Iterator[str]:
    found, over = {name: found["swap"] for name, found in results["methods"].items()}, drawn_from(results["users"])
    if not any(found.values()):
        return
    if not any(one for swap in found.values() for one in swap.values()):
        yield "swap test: left out, since no user has a stranger who wrote as much and not about the same item"
        return
    yield (
        "swap test: likelihood of the real review with a stranger's history in the place of the own one, the item unchanged; "
        f"below 0: the method knows something of the person (bootstrap over {over}, not corrected)"
    )
    asked = {name: next(filter(None, swap.values()))["requests"] for name, swap in found.items() if any(swap.values())}
    for left in sorted({results["targets"] - requests for requests in asked.values()} - {0}):
        whose = [name for name, requests in asked.items() if results["targets"] - requests == left]
        of = f" with {', '.join(whose)}" if len(whose) < len(asked) else ""
        yield f"swap test: {count(left, 'review')} left out{of}, since no stranger wrote as much and not about the same item"
    if without := [name for name, swap in found.items() if not swap]:
        yield f"swap test: without {', '.join(without)}, whose prompts hold nothing of the user"


def _profiles(found: dict) -> str:
    """What failed on the way to the profiles of a method."""
    said = [f"{kind}: {count(answers, 'answer')}" for kind, answers in found["failures"].items()]
    for what, noun, more in (
        ("dropped", "question", " without an answer"),
        ("empty", "empty profile", ""),
        ("commanding", "review", " read as orders to a model"),
    ):
        if found[what]:
            said.append(count(found[what], noun) + more)
    return "; ".join(said)
