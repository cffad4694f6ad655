"""`dep eval`: write every review first, then score the real ones, then compute everything from the files alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from depcli.errors import NotFound
from depcli.evaluation import predictions as files
from depcli.evaluation.likelihood import Scorer, nll
from depcli.evaluation.scoring import score_files
from depcli.evaluation.split import Split, Target, by_hash, check_leakage, check_shown, pairs_of
from depcli.records import Profile, Request, Sampling

SCHEMA = 1
Pair = tuple[Target, Request, str]


def evaluate(
    *, snapshot, split: Split, targets: Sequence[Target], methods: Mapping[str, object], scorer: Scorer | None,
    sampling: Sampling, out: Path, settings: dict, on_progress: Callable[[dict], None] = lambda event: None,
) -> dict:  # fmt: skip
    """Evaluate `methods` (name -> writing.Writer) on `targets` of `split` into the folder `out`; return what results.json holds.

    What `out` has already is kept, so the same call goes on after a kill, and more targets or methods may be asked for. Other
    `settings` (all that shapes a text: backbone, engine, adapter, ...; JSON values) than the folder was begun with raise
    Incompatible. `scorer` None leaves likelihoods out. Progress events: {"phase": "write" | "likelihood" | "score", "method",
    "done_requests", "total_requests"}.
    """
    if not targets:
        raise NotFound("there is nothing to evaluate: no user has enough reviews", "ingest users with four reviews or more")
    check_leakage(split)
    settings = {
        **settings, "split": split.name, "split_digest": split.digest, "store_commit": snapshot.commit.id,
        "sampling": asdict(sampling), "max_answer_tokens": scorer.max_answer_tokens if scorer else None,
    }  # fmt: skip
    with files.claimed(out, settings):
        found = zip(targets, pairs_of(targets, snapshot), strict=True)
        pairs = {request_id(target, sampling.seed): (target, *pair) for target, pair in found}
        spent = _write(methods, pairs, sampling, out, on_progress)
        if scorer:
            _weigh(methods, pairs, scorer, out, on_progress)
        scored = score_files(out, list(methods), list(pairs), on_progress=on_progress)
        for name, seconds in spent.items():
            scored["methods"][name]["generation"] = seconds
        results = {
            "schema": SCHEMA, "created": datetime.now(UTC).isoformat(timespec="seconds"), "settings": settings,
            "requests": len(pairs), "users": len({target.user_id for target in targets}), **scored,
        }  # fmt: skip
        files.write_json(out / files.RESULTS, results)
    return results


def request_id(target: Target, seed: int) -> str:
    """The same for a target and a run's seed whatever else is evaluated."""
    return by_hash(target, seed).hex()[:16]


def _write(methods: Mapping[str, object], pairs: Mapping[str, Pair], sampling: Sampling, out: Path, on_progress) -> dict:
    """Append the missing predictions; return what this run (not an earlier one) took per method."""
    log = files.JsonLines(out / files.PREDICTIONS)
    spent = {}
    for name, writer in methods.items():
        todo = _missing(log, name, pairs)
        started = time.perf_counter()
        lines = _predictions(name, writer, [(key, *pairs[key]) for key in todo], sampling)
        _follow(log.append(lines), "write", name, len(pairs) - len(todo), len(pairs), on_progress)
        spent[name] = {"requests": len(todo), "seconds": round(time.perf_counter() - started, 3)}
    return spent


def _predictions(name: str, writer, todo: Sequence[tuple[str, Target, Request, str]], sampling: Sampling) -> Iterator[dict]:
    written = writer.write((request for _, _, request, _ in todo), sampling)
    for (key, target, _, reference), one in zip(todo, written, strict=True):
        check_shown(target, one.prompt)
        yield {
            "id": key, "method": name, "user_id": target.user_id, "asin": target.asin, "seed": one.seed,
            "prediction": one.completion.text, "reference": reference, "prompt_tokens": one.completion.prompt_tokens,
            "generated_tokens": one.completion.generated_tokens, "finish": one.completion.finish,
            "shown": [past.review.asin for past in one.prompt.shown], "dropped": one.prompt.dropped,
            **({"pooled": len(one.prompt.pooled)} if one.prompt.pooled else {}),
            **({"profile": _profile(one.prompt.profile)} if one.prompt.profile else {}),
        }  # fmt: skip


def _profile(profile: Profile) -> dict:
    """What the analyst was asked for this profile, whenever that was, and what became of it. No times and nothing on who made it
    first: the same run, interrupted or not, leaves the same file."""
    analysis = profile.analysis
    return {
        "calls": analysis.calls, "prompt_tokens": analysis.prompt_tokens, "generated_tokens": analysis.generated_tokens,
        "failures": analysis.failures, "dropped": analysis.dropped, "empty": not profile.text,
        "dimensions": len(profile.dimensions), "rejected": profile.rejected, "commanding": profile.commanding,
    }  # fmt: skip


def _weigh(methods: Mapping[str, object], pairs: Mapping[str, Pair], scorer: Scorer, out: Path, on_progress) -> None:
    """Append the missing likelihoods of the real reviews."""
    log = files.JsonLines(out / files.NLL)
    for name, writer in methods.items():
        todo = _missing(log, name, pairs)
        lines = _likelihoods(name, writer, [(key, *pairs[key]) for key in todo], scorer)
        _follow(log.append(lines), "likelihood", name, len(pairs) - len(todo), len(pairs), on_progress)


def _likelihoods(name: str, writer, todo: Sequence[tuple[str, Target, Request, str]], scorer: Scorer) -> Iterator[dict]:
    prompts = writer.builder.build_all(request for _, _, request, _ in todo)
    asked = ((writer.soft(prompt), reference) for prompt, (_, _, _, reference) in zip(prompts, todo, strict=True))
    for (key, *_), found in zip(todo, nll(scorer, asked), strict=True):
        yield {"id": key, "method": name, "nats": found.nats, "tokens": found.tokens, "cut": found.cut}


def _missing(log: files.JsonLines, method: str, pairs: Mapping[str, Pair]) -> list[str]:
    done = {entry["id"] for entry in log.entries if entry["method"] == method}
    return [key for key in pairs if key not in done]


def _follow(lines: Iterable[dict], phase: str, method: str, done: int, total: int, on_progress) -> None:
    on_progress({"phase": phase, "method": method, "done_requests": done, "total_requests": total})
    for number, _ in enumerate(lines, done + 1):
        on_progress({"phase": phase, "method": method, "done_requests": number, "total_requests": total})
