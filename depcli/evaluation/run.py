"""`dep eval`: write the reviews and weigh the real ones, then compute everything from the files alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from depcli import __version__
from depcli.analysts.analyst import Analyst
from depcli.errors import Incompatible, NotFound
from depcli.evaluation import phases
from depcli.evaluation import predictions as files
from depcli.evaluation.clock import Clock
from depcli.evaluation.phases import Pair, Scorer, Work
from depcli.evaluation.results import SCHEMA, lost_with
from depcli.evaluation.scoring import score_files
from depcli.evaluation.studies import Comparison
from depcli.records import Sampling
from depcli.splits.leakage import CHECKED, check_differences, check_leakage
from depcli.splits.split import Split, Target, by_hash, pairs_of
from depcli.system import resumable


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

    with files.claimed(out, settings, snapshot.advice):
        with clock.part("checks"):
            found = list(zip(targets, pairs_of(targets, snapshot), strict=True))
            runs = {
                seed: {request_id(target, seed): (target, *pair) for target, pair in found}
                for seed in range(sampling.seed, sampling.seed + seeds)
            }
            work = Work(out, methods, runs, clock, snapshot.check_nobody_forgotten, on_progress)
            _check_sums(methods, work.pairs, snapshot, split)
        # First all that the writer may be asked for: the scorer may need its device.
        spent = phases.write(work, sampling, scorer)
        with clock.part("judge"):
            judged = phases.let_judge(work, snapshot, asked) if asked else None
        with clock.part("swap"):
            variants, swaps = phases.swaps_of(work, snapshot, strangers_from) if strangers_from else ({}, {})
            phases.make_profiles(work, swaps)
        with clock.part("likelihood"):
            if scorer:
                phases.weigh(work, scorer)
        with clock.part("swap"):
            phases.weigh_swaps(work, swaps, scorer)
        with clock.part("alignment"):
            floor = settings.get("min_peers") or 1
            aligned = phases.align(work, snapshot, embedder, floor) if embedder else None
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
            "targets": len(targets),
            "requests": len(targets) * len(runs),
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
