"""`dep eval`: write the reviews and weigh the real ones, then compute everything from the files alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from depcli import __version__, resumable
from depcli.analysts.analyst import Analyst
from depcli.errors import Incompatible, NotFound
from depcli.evaluation import predictions as files
from depcli.evaluation.clock import Clock
from depcli.evaluation.measures import alignment, judge, swap
from depcli.evaluation.measures.likelihood import EngineScorer, WeightsScorer
from depcli.evaluation.results import SCHEMA, lost_with
from depcli.evaluation.scoring import score_files
from depcli.evaluation.studies import Comparison
from depcli.records import Likelihood, Profile, Request, Sampling, SoftPrompt
from depcli.splits.leakage import CHECKED, check_differences, check_leakage, check_shown
from depcli.splits.split import Split, Target, by_hash, pairs_of

Pair = tuple[Target, Request, str]
Scorer = EngineScorer | WeightsScorer
Swaps = tuple[Sequence[swap.Swap], int]  # those that are missing, and how many there are in all
Logs = Callable[[str], resumable.JsonLines]  # by the name of a file of the evaluation
Weigh = Callable[[str, str, SoftPrompt, str], None]  # method, id, prompt, the real review


def evaluate(
    *,
    snapshot,
    split: Split,
    targets: Sequence[Target],
    methods: Mapping[str, object],
    scorer: Scorer | None,
    sampling: Sampling,
    out: Path,
    settings: dict,
    seeds: int = 1,
    embedder=None,
    strangers_from: Sequence[Target] = (),
    asked: Analyst | None = None,
    comparison: Comparison | None = None,
    clock: Clock | None = None,
    training: Mapping[str, dict] | None = None,
    notes: Sequence[str] = (),
    on_progress: Callable[[dict], None] = lambda event: None,
) -> dict:
    """Evaluate `methods` (name -> writing.Writer) on `targets` of `split` into the folder `out`; return what results.json holds.

    Each target is written `seeds` times, with the sampling seeds from sampling.seed on; its likelihood is computed once. What
    `out` has already is kept, so the same call goes on after a kill, and more targets, methods or seeds may be asked for. Other
    `settings` (all that shapes a text: backbone, engine, adapter, ...; JSON values) than the folder was begun with raise
    Incompatible. `scorer` None leaves likelihoods out; `embedder`, the one of the store, is for difference alignment, None leaves
    that out. With `strangers_from` (all targets of the role) there is a swap test, which needs the scorer; `asked` is a judge of
    the texts, None for none. `comparison` says what is tested against what. `training` and `notes` go into the results; `clock`
    has counted what was spent before. Progress events: {"phase": "write" | "likelihood" | "swap" | "align" | "judge" | "score",
    "method", "done_requests", "total_requests"}, or {"note"}.
    """
    if not targets:
        raise NotFound("there is nothing to evaluate: no user has enough reviews", "ingest users with four reviews or more")
    if strangers_from and not scorer:
        raise Incompatible("the swap test compares likelihoods, and none are computed here", "leave --swap out")
    check_leakage(split)
    clock = clock or Clock()
    settings = {
        **settings,
        "split": split.name,
        "split_digest": split.digest,
        "store_commit": snapshot.commit.id,
        "sampling": asdict(sampling),
        "likelihoods": scorer.name if scorer else None,
        "max_answer_tokens": scorer.max_answer_tokens if scorer else None,
    }

    def logs(name: str) -> resumable.JsonLines:
        return resumable.JsonLines(out / name, snapshot.check_nobody_forgotten, files.FIELDS[name])

    with files.claimed(out, settings, snapshot.advice):
        with clock.part("checks"):
            found = list(zip(targets, pairs_of(targets, snapshot), strict=True))
            runs = {
                seed: {request_id(target, seed): (target, *pair) for target, pair in found}
                for seed in range(sampling.seed, sampling.seed + seeds)
            }
            pairs = runs[sampling.seed]
            _check_sums(methods, pairs, snapshot, split)
        # First all that the writer may be asked for: the scorer may need its device.
        spent = _write(methods, runs, sampling, scorer, logs, clock, on_progress)
        with clock.part("judge"):
            judged = _judge(methods, runs, asked, logs, on_progress) if asked else None
        with clock.part("swap"):
            variants, swaps = _swaps(methods, pairs, snapshot, strangers_from, logs) if strangers_from else ({}, {})
            _make_profiles(methods, swaps, on_progress)
        with clock.part("likelihood"):
            if scorer:
                _weigh(methods, pairs, scorer, logs, on_progress)
        with clock.part("swap"):
            _swap(methods, swaps, scorer, logs, on_progress)
        with clock.part("alignment"):
            floor = settings.get("min_peers") or 1
            aligned = _align(methods, runs, snapshot, embedder, floor, logs, on_progress) if embedder else None
        scored = score_files(
            out,
            list(methods),
            {seed: list(pairs) for seed, pairs in runs.items()},
            alignment=aligned,
            judged=judged,
            variants=variants,
            comparison=comparison,
            clock=clock,
            check=snapshot.check_nobody_forgotten,
            on_progress=on_progress,
        )
        for name, generation in spent.items():
            scored["methods"][name]["generation"] = generation
        scored["notes"] = [*notes, *scored["notes"]]
        results = {
            "schema": SCHEMA,
            "dep": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": settings,
            "seeds": list(runs),
            "targets": len(pairs),
            "requests": len(pairs) * len(runs),
            "users": len({target.user_id for target in targets}),
            **scored,
            "training": dict(training or {}),
            "seconds": clock.seconds(),
        }
        snapshot.check_nobody_forgotten()
        if lost := lost_with(results, out):
            on_progress({"note": lost})
        resumable.write_json(out / files.RESULTS, results)
    return results


def request_id(target: Target, seed: int) -> str:
    """The same for a target and a sampling seed whatever else is evaluated."""
    return by_hash(target, seed).hex()[:16]


def _check_sums(methods: Mapping[str, object], pairs: Mapping[str, Pair], snapshot, split: Split) -> None:
    """That nothing held out is in the differences, on the first prompts of each method; profiles would take too long."""
    requests = [request for _, request, _ in islice(pairs.values(), CHECKED)]
    builders = [w.builder for w in methods.values() if w.builder.method.history and not w.builder.method.profile]
    for weighted in (False, True):
        found = [builder for builder in builders if (builder.choices.peer_weighting == "distance") is weighted]
        prompts = (prompt for builder in found for prompt in builder.build_all(requests))
        check_differences(prompts, snapshot, split.held_out, weighted=weighted)


def _write(
    methods: Mapping[str, object],
    runs: Mapping[int, Mapping[str, Pair]],
    sampling: Sampling,
    scorer: Scorer | None,
    logs: Logs,
    clock: Clock,
    on_progress,
) -> dict:
    """Append the missing predictions, all seeds of a request one after the other, and where the scorer still has the prompt then
    the likelihood; return what this run (not an earlier one) took to write, per method."""
    log = logs(files.PREDICTIONS)
    weigh = _weigh_at_once(scorer, logs, clock) if scorer and scorer.at_once else lambda *_: None
    done = _done(log)
    pairs = next(iter(runs.values()))
    seeded = [dict(zip(runs, keys, strict=True)) for keys in zip(*runs.values(), strict=True)]  # the ids of each request by seed
    spent = {}
    for name, writer in methods.items():
        missing = [{seed: key for seed, key in keys.items() if (name, key) not in done} for keys in seeded]
        todo = [(key, *pairs[key], keys) for key, keys in zip(pairs, missing, strict=True) if keys]
        count, total, before = sum(map(len, missing)), len(pairs) * len(runs), clock.seconds().get("writing", 0.0)
        with clock.part("writing"):
            lines = _predictions(name, writer, todo, sampling, weigh)
            _follow(log.append(lines), "write", name, total - count, total, on_progress)
        spent[name] = {"requests": count, "seconds": round(clock.seconds()["writing"] - before, 3)}
    return spent


def _predictions(
    name: str, writer, todo: Sequence[tuple[str, Target, Request, str, Mapping[int, str]]], sampling: Sampling, weigh: Weigh
) -> Iterator[dict]:
    """A line for each id of (the target's own id, target, its request, the real review, ids by seed), in order; after those of a
    target its real review is weighed."""
    written = writer.write_often(((request, list(keys)) for *_, request, _, keys in todo), sampling)
    for own, target, _, reference, keys in todo:
        for key in keys.values():
            one = next(written)
            check_shown(target, one.prompt)
            yield {
                "id": key,
                "method": name,
                "user_id": target.user_id,
                "asin": target.asin,
                "request_seed": one.seed,
                "prediction": one.completion.text,
                "reference": reference,
                "prompt_tokens": one.completion.prompt_tokens,
                "generated_tokens": one.completion.generated_tokens,
                "finish": one.completion.finish,
                "shown": [past.review.asin for past in one.prompt.shown],
                "dropped": one.prompt.dropped,
                **({"pooled": len(one.prompt.pooled)} if one.prompt.pooled else {}),
                **({"profile": _profile(one.prompt.profile)} if one.prompt.profile else {}),
            }
        weigh(name, own, one.soft, reference)


def _profile(profile: Profile) -> dict:
    """What the analyst was asked for this profile, whenever that was, and what became of it. No times and nothing on who made it
    first: the same run, interrupted or not, leaves the same file."""
    analysis = profile.analysis
    return {
        "calls": analysis.calls,
        "prompt_tokens": analysis.prompt_tokens,
        "generated_tokens": analysis.generated_tokens,
        "failures": analysis.failures,
        "dropped": analysis.dropped,
        "empty": not profile.text,
        "dimensions": len(profile.dimensions),
        "rejected": profile.rejected,
        "commanding": profile.commanding,
    }


def _weigh_at_once(scorer: Scorer, logs: Logs, clock: Clock) -> Weigh:
    """Appends a likelihood that is missing, right after the writing."""
    log = logs(files.NLL)
    done = _done(log)

    def weigh(name: str, key: str, prompt: SoftPrompt, reference: str) -> None:
        if (name, key) not in done:
            with clock.part("likelihood"):
                (found,) = scorer.likelihoods([(prompt, reference)])
                list(log.append([_likelihood(name, key, found)]))

    return weigh


def _weigh(methods: Mapping[str, object], pairs: Mapping[str, Pair], scorer: Scorer, logs: Logs, on_progress) -> None:
    """Append the missing likelihoods of the real reviews."""
    log = logs(files.NLL)
    done = _done(log)
    for name, writer in methods.items():
        todo = [key for key in pairs if (name, key) not in done]
        lines = _likelihoods(name, writer, [(key, *pairs[key]) for key in todo], scorer)
        _follow(log.append(lines), "likelihood", name, len(pairs) - len(todo), len(pairs), on_progress)


def _likelihoods(name: str, writer, todo: Sequence[tuple[str, Target, Request, str]], scorer: Scorer) -> Iterator[dict]:
    prompts = writer.builder.build_all(request for _, _, request, _ in todo)
    asked = ((writer.soft(prompt), reference) for prompt, (_, _, _, reference) in zip(prompts, todo, strict=True))
    for (key, *_), found in zip(todo, scorer.likelihoods(asked), strict=True):
        yield _likelihood(name, key, found)


def _likelihood(name: str, key: str, found: Likelihood) -> dict:
    return {"id": key, "method": name, "nats": found.nats, "tokens": found.tokens, "cut": found.cut}


def _swaps(
    methods: Mapping[str, object], pairs: Mapping[str, Pair], snapshot, candidates: Sequence[Target], logs: Logs
) -> tuple[dict[str, tuple[str, ...]], dict[str, Swaps]]:
    """By method what can be swapped, and what of it is still to be weighed."""
    done = _done(logs(files.SWAP), "variant")
    shown = max(writer.builder.k for writer in methods.values())
    others = swap.strangers(snapshot, [target for target, _, _ in pairs.values()], candidates, shown)
    keys = [key for key, (target, _, _) in pairs.items() if target.key in others]
    builders = {name: writer.builder for name, writer in methods.items()}
    variants = {name: swap.variants(one.method, one.choices, one.template) for name, one in builders.items()}
    swaps = {}
    for name, found in variants.items():
        asked = [(key, variant, *pairs[key], others[pairs[key][0].key]) for key in keys for variant in found]
        swaps[name] = [entry for entry in asked if (name, entry[1], entry[0]) not in done], len(asked)
    return variants, swaps


def _make_profiles(methods: Mapping[str, object], swaps: Mapping[str, Swaps], on_progress) -> None:
    """Make the profiles that the swap test will ask for."""
    for name, (todo, total) in swaps.items():
        if methods[name].builder.method.profile:
            _follow(swap.mixed(methods[name], todo), "swap", name, total - len(todo), total, on_progress)


def _swap(methods: Mapping[str, object], swaps: Mapping[str, Swaps], scorer: Scorer, logs: Logs, on_progress) -> None:
    """Append the missing likelihoods of the swap test."""
    log = logs(files.SWAP)
    for name, (todo, total) in swaps.items():
        lines = log.append(swap.swapped(name, methods[name], todo, scorer))
        _follow(lines, "swap", name, total - len(todo), total, on_progress)


def _align(
    methods: Mapping[str, object],
    runs: Mapping[int, Mapping[str, Pair]],
    snapshot,
    embedder,
    min_peers: int,
    logs: Logs,
    on_progress,
) -> str:
    """Append the missing difference alignments; return their signature."""
    log, written = logs(files.ALIGNMENT), _written(runs, logs)
    done = files.about(written, log.entries)
    targets = [target for target, _, _ in runs[min(runs)].values()]
    real = alignment.real_differences(snapshot, targets, min_peers=min_peers)
    for name in methods:
        mine = [line for line in written if line["method"] == name]
        todo = [line for line in mine if (name, line["id"]) not in done]
        lines = alignment.alignments(embedder.encode, todo, real)
        _follow(log.append(lines), "align", name, len(mine) - len(todo), len(mine), on_progress)
    return alignment.signature(embedder, min_peers)


def _judge(
    methods: Mapping[str, object], runs: Mapping[int, Mapping[str, Pair]], asked: Analyst, logs: Logs, on_progress
) -> tuple[str, str]:
    """Append the missing verdicts; return the judge's identity and signature."""
    log, by = logs(files.JUDGE), judge.identity(asked)
    written = _written(runs, logs)
    done = files.about(written, (line for line in log.entries if line["judge"] == by))
    requests = {target.key: request for pairs in runs.values() for target, request, _ in pairs.values()}
    for name in methods:
        mine = [line for line in written if line["method"] == name]
        todo = [line for line in mine if (name, line["id"]) not in done]
        lines = judge.judgements(asked, todo, requests)
        _follow(log.append(lines), "judge", name, len(mine) - len(todo), len(mine), on_progress)
    return by, judge.signature(asked)


def _written(runs: Mapping[int, Mapping[str, Pair]], logs: Logs) -> list[dict]:
    """The lines of predictions.jsonl for these requests."""
    wanted = {key for pairs in runs.values() for key in pairs}
    return [line for line in logs(files.PREDICTIONS).entries if line["id"] in wanted]


def _done(log: resumable.JsonLines, *more: str) -> set[tuple]:
    """(method, `more` fields, id) of the lines that are there."""
    return {(entry["method"], *(entry[field] for field in more), entry["id"]) for entry in log.entries}


def _follow(lines: Iterable[dict], phase: str, method: str, done: int, total: int, on_progress) -> None:
    on_progress({"phase": phase, "method": method, "done_requests": done, "total_requests": total})
    for number, _ in enumerate(lines, done + 1):
        on_progress({"phase": phase, "method": method, "done_requests": number, "total_requests": total})
