"""The phases of `dep eval`: each appends to its file the lines that are missing there, so an interrupted one goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from depcli.analysts.analyst import Analyst
from depcli.evaluation import predictions as files
from depcli.evaluation.clock import Clock
from depcli.evaluation.measures import alignment, judge, swap
from depcli.evaluation.measures.likelihood import EngineScorer, WeightsScorer
from depcli.evaluation.measures.metrics import is_empty
from depcli.personal.pooled import LONGEST
from depcli.records import Likelihood, Profile, Request, Sampling, SoftPrompt
from depcli.splits.leakage import check_shown
from depcli.splits.split import Target, by_user
from depcli.system import resumable

Pair = tuple[Target, Request, str]  # what is to be written, and the real review
Scorer = EngineScorer | WeightsScorer
Swaps = tuple[Sequence[swap.Swap], int]  # those that are missing, and how many there are in all
Weigh = Callable[[str, str, SoftPrompt, str], None]  # method, id, prompt, the real review


@dataclass(frozen=True)
class Work:
    """What all phases share: the folder, the writers by method, the requests by sampling seed and id. `check` is called before
    each line, `on_progress` with each event (see run.evaluate)."""

    out: Path
    methods: Mapping[str, object]
    runs: Mapping[int, Mapping[str, Pair]]
    clock: Clock
    check: Callable[[], None]
    on_progress: Callable[[dict], None]

    @property
    def pairs(self) -> Mapping[str, Pair]:
        """The requests by their ids of the first seed: what is measured once for all seeds."""
        return next(iter(self.runs.values()))

    def log(self, name: str) -> resumable.JsonLines:
        """A file of the evaluation."""
        return resumable.JsonLines(self.out / name, self.check, files.FIELDS[name])

    def written(self) -> list[dict]:
        """The lines of predictions.jsonl for these requests."""
        wanted = {key for pairs in self.runs.values() for key in pairs}
        return [line for line in self.log(files.PREDICTIONS).entries if line["id"] in wanted]

    def follow(self, lines: Iterable[dict], phase: str, method: str, done: int, total: int) -> None:
        """Use up the `lines`, telling of each."""
        self.on_progress({"phase": phase, "method": method, "done_requests": done, "total_requests": total})
        for number, _ in enumerate(lines, done + 1):
            self.on_progress({"phase": phase, "method": method, "done_requests": number, "total_requests": total})


def write(work: Work, sampling: Sampling, scorer: Scorer | None) -> dict:
    """Append the missing predictions, all seeds of a request one after the other, and where the scorer still has the prompt then
    the likelihood; return what this run (not an earlier one) took to write, per method."""
    runs, clock, log = work.runs, work.clock, work.log(files.PREDICTIONS)
    weigh = _weigh_at_once(work, scorer) if scorer and scorer.at_once else lambda *_: None
    done = _done(log)
    seeded = [dict(zip(runs, keys, strict=True)) for keys in zip(*runs.values(), strict=True)]  # the ids of each request by seed
    spent = {}
    for name, writer in work.methods.items():
        missing = [{seed: key for seed, key in keys.items() if (name, key) not in done} for keys in seeded]
        todo = [(key, *work.pairs[key], keys) for key, keys in zip(work.pairs, missing, strict=True) if keys]
        count, total, before = sum(map(len, missing)), len(work.pairs) * len(runs), clock.seconds().get("writing", 0.0)
        with clock.part("writing"):
            work.follow(log.append(_predictions(name, writer, todo, sampling, weigh)), "write", name, total - count, total)
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


def _weigh_at_once(work: Work, scorer: Scorer) -> Weigh:
    """Appends a likelihood that is missing, right after the writing."""
    log = work.log(files.NLL)
    done = _done(log)

    def weigh(name: str, key: str, prompt: SoftPrompt, reference: str) -> None:
        if (name, key) not in done:
            with work.clock.part("likelihood"):
                (found,) = scorer.likelihoods([(prompt, reference)])
                list(log.append([_likelihood(name, key, found)]))

    return weigh


def weigh(work: Work, scorer: Scorer) -> None:
    """Append the missing likelihoods of the real reviews."""
    log, pairs = work.log(files.NLL), work.pairs
    done = _done(log)
    for name, writer in work.methods.items():
        todo = [key for key in pairs if (name, key) not in done]
        lines = _likelihoods(name, writer, [(key, *pairs[key]) for key in todo], scorer)
        work.follow(log.append(lines), "likelihood", name, len(pairs) - len(todo), len(pairs))


def _likelihoods(name: str, writer, todo: Sequence[tuple[str, Target, Request, str]], scorer: Scorer) -> Iterator[dict]:
    prompts = writer.builder.build_all(request for _, _, request, _ in todo)
    asked = ((writer.soft(prompt), reference) for prompt, (_, _, _, reference) in zip(prompts, todo, strict=True))
    for (key, *_), found in zip(todo, scorer.likelihoods(asked), strict=True):
        yield _likelihood(name, key, found)


def _likelihood(name: str, key: str, found: Likelihood) -> dict:
    return {"id": key, "method": name, "nats": found.nats, "tokens": found.tokens, "cut": found.cut}


def swaps_of(work: Work, snapshot, candidates: Sequence[Target]) -> tuple[dict[str, tuple[str, ...]], dict[str, Swaps]]:
    """By method what can be swapped with a stranger among `candidates`, and what of it is still to be weighed."""
    done, pairs = _done(work.log(files.SWAP), "variant", "stranger"), work.pairs
    builders = {name: writer.builder for name, writer in work.methods.items()}
    variants = {name: swap.variants(one.method, one.choices, one.template) for name, one in builders.items()}
    shown = max(one.k for one in builders.values())
    asks = {name: LONGEST if one.method.before else shown for name, one in builders.items()}
    targets, reviews = [target for target, _, _ in pairs.values()], by_user(snapshot)
    others = {most: swap.strangers(reviews, targets, candidates, most) for most in set(asks.values())}
    swaps = {}
    for name, found in variants.items():
        drawn = others[asks[name]]
        keys = [key for key, (target, _, _) in pairs.items() if target.key in drawn]
        asked = [(key, variant, *pairs[key], drawn[pairs[key][0].key]) for key in keys for variant in found]
        swaps[name] = [one for one in asked if (name, one[1], swap.named(one[-1]), one[0]) not in done], len(asked)
    return variants, swaps


def make_profiles(work: Work, swaps: Mapping[str, Swaps]) -> None:
    """Make the profiles that the swap test will ask for."""
    for name, (todo, total) in swaps.items():
        if work.methods[name].builder.method.profile:
            work.follow(swap.mixed(work.methods[name], todo), "swap", name, total - len(todo), total)


def weigh_swaps(work: Work, swaps: Mapping[str, Swaps], scorer: Scorer | None) -> None:
    """Append the missing likelihoods of the swap test."""
    log = work.log(files.SWAP)
    for name, (todo, total) in swaps.items():
        lines = log.append(swap.swapped(name, work.methods[name], todo, scorer))
        work.follow(lines, "swap", name, total - len(todo), total)


def align(work: Work, snapshot, embedder, min_peers: int) -> str:
    """Append the missing difference alignments; return their signature."""
    log, written = work.log(files.ALIGNMENT), work.written()
    done = files.about(written, log.entries)
    targets = [target for target, _, _ in work.pairs.values()]
    real = alignment.real_differences(snapshot, targets, min_peers=min_peers)
    for name in work.methods:
        mine = [line for line in written if line["method"] == name]
        todo = [line for line in mine if (name, line["id"]) not in done]
        lines = alignment.alignments(embedder.encode, todo, real)
        work.follow(log.append(lines), "align", name, len(mine) - len(todo), len(mine))
    return alignment.signature(embedder, min_peers)


def let_judge(work: Work, snapshot, asked: Analyst) -> tuple[str, str]:
    """Append the missing verdicts, on what others wrote about the same items too; return the judge's identity and signature."""
    log, by, written = work.log(files.JUDGE), judge.identity(asked), work.written()
    known = [line for line in log.entries if line["judge"] == by]
    unasked = {files.digest(line["prediction"]) for line in written if is_empty(line["prediction"])}
    asked.answered |= any(line["score"] is not None and line["text"] not in unasked for line in known)
    texts = [*written, *_by_others(work, snapshot)]
    done = files.about(({**line, "prediction": judge.found_by(line)} for line in texts), known)
    requests = {target.key: request for pairs in work.runs.values() for target, request, _ in pairs.values()}
    for name in (*work.methods, judge.OTHERS):
        mine = [line for line in texts if line["method"] == name]
        todo = [line for line in mine if (name, line["id"]) not in done]
        lines = judge.judgements(asked, todo, requests)
        work.follow(log.append(lines), "judge", name, len(mine) - len(todo), len(mine))
    return by, judge.signature(asked)


def _by_others(work: Work, snapshot) -> list[dict]:
    """What somebody else wrote about each item, where anybody did, as lines of predictions.jsonl have it."""
    texts = judge.of_others(snapshot, (pair for _, *pair in work.pairs.values()))
    return [
        {
            "id": key,
            "method": judge.OTHERS,
            "user_id": target.user_id,
            "asin": target.asin,
            "prediction": texts[target.key],
            "reference": reference,
        }
        for key, (target, _, reference) in work.pairs.items()
        if target.key in texts
    ]


def _done(log: resumable.JsonLines, *more: str) -> set[tuple]:
    """(method, `more` fields, id) of the lines that are there."""
    return {(entry["method"], *(entry[field] for field in more), entry["id"]) for entry in log.entries}
