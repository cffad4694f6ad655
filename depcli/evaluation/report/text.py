"""What a person reads of an evaluation: tables, the differences with their intervals, and what to know about them."""

from __future__ import annotations

from collections.abc import Iterator

from depcli.evaluation.measures import ALIGNMENT
from depcli.evaluation.measures.swap import HISTORY, TEXT, VECTORS
from depcli.evaluation.report import study
from depcli.evaluation.report.titles import TITLES, Table, chance, number, signed
from depcli.words import count

FEW_USERS, FEWEST = 30, 6  # of fewer than 6 no pattern of signs has a chance below 5 %
_SWAPPED = {HISTORY: "text and soft tokens", TEXT: "text", VECTORS: "soft tokens"}
_MOST_PAIRS = 3  # all shown up to here, else those of one method


def tables(results: dict) -> Iterator[Table]:
    """(columns, rows) of each table that there is something to say in."""
    for make in (table, standard_errors, study.groups, study.between, differences, swaps, costs):
        columns, rows = make(results)
        if rows:
            yield columns, rows


def table(results: dict) -> Table:
    """One row per method. A metric that was not computed shows '-'; a star: significantly better than every other method; in a
    study + and -: better and worse than its reference."""
    metrics = _metrics(results)
    columns = ["method", *(TITLES[metric] for metric in metrics), "empty"]
    rows = [
        [name, *(number(value(found, metric), metric) + _star(results, name, metric) for metric in metrics), str(found["empty"])]
        for name, found in results["methods"].items()
    ]
    return columns, rows


def standard_errors(results: dict) -> Table:
    """Two rows per method where there are several seeds: over users (or what is drawn) and over seeds."""
    metrics = _metrics(results)
    columns = ["standard error", "over", *(TITLES[metric] for metric in metrics)]
    kinds = {"se_users": drawn_from(results["users"]), **({"se_seeds": "seeds"} if len(results["seeds"]) > 1 else {})}
    rows = [
        [name, kind, *(number(summary_of(found, metric).get(key), metric) for metric in metrics)]
        for name, found in results["methods"].items()
        for key, kind in kinds.items()
    ]
    return columns, rows


def differences(results: dict) -> Table:
    """Pairs of methods, at most a few, as `difference_rows`."""
    return difference_rows(told(results), results["targets"])


def difference_rows(tests: list[dict], targets: int) -> Table:
    """Difference, interval, p values, and which of the two is better where that is significant; beside the metric the reviews
    that a difference rests on, where these are not all `targets`."""
    columns = ["difference", "metric", "mean", "95 % interval", "p", "p (Holm)", "better"]
    rows = [
        [
            f"{found['method']} - {found['against']}",
            TITLES[found["metric"]] + _of(found["requests"], targets),
            signed(found["difference"]),
            _interval(found),
            chance(found["p"]),
            chance(found["p_holm"]),
            found["better"] or "not clear",
        ]
        for found in tests
    ]
    return columns, rows


def _of(reviews: int, targets: int) -> str:
    return "" if reviews == targets else f" ({reviews:,} of {targets:,})"


def swaps(results: dict) -> Table:
    """The swap test: NLL per token of the real reviews with the user's own and with a stranger's."""
    columns = ["swap test", "a stranger's", "NLL own", "stranger", "own - stranger", "95 % interval"]
    rows = [
        [
            name,
            _what(found["swap"], what),
            number(one["own"], "nll"),
            number(one["stranger"], "nll"),
            signed(one["difference"]),
            _interval(one),
        ]
        for name, found in results["methods"].items()
        for what, one in found["swap"].items()
        if one
    ]
    return columns, rows


def costs(results: dict) -> Table:
    """What a review took, and any profile behind it, which is made once for a user and kept. Seconds are those of this run: '-'
    where it found all texts there."""
    columns = ["cost", "tokens read", "written", "seconds"]
    asked = any(found["profiles"] for found in results["methods"].values())
    columns += ["profile: calls", "tokens read", "written"] if asked else []
    rows = []
    for name, found in results["methods"].items():
        run, profiles = found["generation"], found["profiles"]
        seconds = f"{run['seconds'] / run['requests']:.2f}" if run["requests"] else "-"
        row = [name, f"{found['mean_prompt_tokens']:,.0f}", f"{found['mean_generated_tokens']:,.0f}", seconds]
        made = [f"{profiles[f'mean_{what}']:,.0f}" for what in ("calls", "prompt_tokens", "generated_tokens")] if profiles else []
        rows.append(row + (made or ["-"] * 3 if asked else []))
    return columns, rows


def notes(results: dict) -> list[str]:
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
    stopped = {name: found["stopped_by_length"] for name, found in results["methods"].items() if found["stopped_by_length"]}
    if stopped:
        lines.append(f"texts that ended at the token limit: {', '.join(f'{name} {texts:,}' for name, texts in stopped.items())}")
    thinking = {name: found["unfinished_thoughts"] for name, found in results["methods"].items() if found["unfinished_thoughts"]}
    if thinking:
        texts = ", ".join(f"{name} {texts:,}" for name, texts in thinking.items())
        lines.append(f"thoughts without an end, which count as empty texts: {texts}; more --max-new-tokens may help")
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
        some = f" ({others['targets']:,} of them have one)" if others["targets"] < results["targets"] else ""
        more = ", ".join(f"{name} {one['difference']:+.2f} {_interval(one, 2)}" for name, one in others["more"].items())
        lines.append(
            f"judge: what somebody else really wrote about the same items{some} has {others['value']:.2f} on average; "
            f"beside that {more}"
        )
    undefined = next(iter(results["methods"].values()))["metrics"].get(ALIGNMENT, {}).get("undefined")
    if undefined:
        lines.append(f"alignment: left out where an item has too few other reviewers, {count(undefined, 'review')}")
    return [*lines, *results["notes"], *_time(results["seconds"])]


def signatures(results: dict) -> dict[str, str]:
    """Metric -> settings it was computed with, the same for all methods of a run."""
    first = next(iter(results["methods"].values()))
    return {name: found["signature"] for name, found in first["metrics"].items()}


def value(found: dict, metric: str) -> float | None:
    """A metric of one method of the results, NLL per token among them."""
    return summary_of(found, metric).get("per_token" if metric == "nll" else "value")


def best(results: dict, metric: str) -> str | None:
    """The method that is significantly better than every other one, if one is."""
    won = [found["better"] for found in results["differences"] if found["metric"] == metric]
    return next((name for name in results["methods"] if won.count(name) == len(results["methods"]) - 1 > 0), None)


def summary_of(found: dict, metric: str) -> dict:
    """What the results say of a metric of one method, NLL per token among them; empty where there is nothing."""
    return (found["nll"] if metric == "nll" else found["metrics"].get(metric)) or {}


def _metrics(results: dict) -> list[str]:
    """Those that some method has, in the order of the table."""
    return [metric for metric in TITLES if any(summary_of(found, metric) for found in results["methods"].values())]


def _star(results: dict, name: str, metric: str) -> str:
    """A star, a space of its width where another method of the column has one, else nothing; in a study its mark."""
    if study.tests_reference(results):
        return study.mark(results, name, metric)
    winner = best(results, metric)
    return "" if winner is None else "*" if name == winner else " "


def told(results: dict) -> list[dict]:
    """The differences that are shown: all of up to three pairs, else those of DEP, or of the last method."""
    found, names = results["differences"], list(results["methods"])
    if study.tests_reference(results):
        return study.told(results)
    if len({(one["method"], one["against"]) for one in found}) <= _MOST_PAIRS:
        return found
    main = "dep" if "dep" in names else names[-1]
    return [one for one in found if main in (one["method"], one["against"])]


def tests_done(done: dict, users: int) -> str:
    """What the tests were: `tests` of the results, which are about so many users."""
    over = drawn_from(users)
    return (
        f"intervals: paired bootstrap over {over}, {done['resamples']:,} resamples; p: paired permutation test, at most "
        f"{done['flips']:,} sign flips of the {over}' differences (BLEU: their texts by two methods swapped); "
        f"Holm-corrected for {count(done['corrected_for'], 'comparison')}"
    )


def drawn_from(users: int) -> str:
    """What intervals and tests draw, see significance.drawn."""
    return "reviews" if users == 1 else "users"


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


def _what(swap: dict, variant: str) -> str:
    """What was the stranger's; of a method with only one of the two it is not said which."""
    return _SWAPPED[variant] if len(swap) > 1 else "history"


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


def _interval(found: dict, digits: int = 4) -> str:
    return "-" if found["low"] is None else f"[{found['low']:+.{digits}f}, {found['high']:+.{digits}f}]"
