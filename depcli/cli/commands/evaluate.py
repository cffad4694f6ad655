"""`dep eval`: methods compared on reviews that nobody learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from depcli.cli.options.analyst import EngineAndModel, ask_analyst, prepare_analyst, prepare_model
from depcli.cli.options.choices import as_trained, check_concerned, choose_parts, typed
from depcli.cli.options.common import (
    BACKBONE_HELP,
    METHODS,
    Finite,
    Setting,
    agree_to_download,
    at_commit,
    every_command,
    may_download,
    methods_from_outside,
)
from depcli.cli.options.engine import choose_engine
from depcli.cli.options.moment import as_of_moment, tell_moment
from depcli.cli.options.preset import choose_preset, tell_preset
from depcli.cli.options.split import choose_split

_PHASES = {
    "write": "writing",
    "likelihood": "likelihoods",
    "swap": "swap test",
    "align": "alignment",
    "judge": "judging",
    "score": "scoring",
}


class _Methods(click.ParamType):
    """Names with commas between them."""

    name = "names"
    known = METHODS

    def convert(self, value, param, ctx):
        names = tuple(dict.fromkeys(name.strip() for name in value.split(","))) if isinstance(value, str) else value
        if unknown := [name for name in names if name not in self.known and name not in methods_from_outside()]:
            self.fail(f"no method {unknown[0]!r}; known: {', '.join(self.known)}.", param, ctx)
        return names


@click.command("eval")
@choose_preset()
@click.option("--methods", type=_Methods(), default="nonperso,rag,dep", show_default=True, metavar="A,B", help="What to compare.")
@click.option(
    "--study",
    type=click.Choice(["uniqueness", "k", "embeddings", "refinement", "retrieval", "guidance"]),
    help="Compare the variants of one of the papers' studies; says which adapters it lacks. Has its own --methods.",
)
@choose_split("the adapter's, else leave-last-out")
@click.option(
    "--role",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Which reviews of the split: those that chose nothing, or those that chose an adapter's best epoch.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="So many reviews, the same ones for the same seed.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Write each N times, with the sampling seeds from --seed on; more can be added later.",
)
@click.option(
    "--swap",
    is_flag=True,
    help="Also measure what the user's own history is worth, against a stranger's; where profiles are used, theirs are made too.",
)
@click.option(
    "--judge",
    type=EngineAndModel(),
    metavar="ENGINE:MODEL",
    help="Also let a model say, from 0 to 10, how likely the author of the real one wrote each text too, and one review of the "
    "same item by somebody else.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page about it too, with 20 requests side by side; it needs no network.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="[default: evaluations/ADAPTER[-SPLIT]-ROLE in the store folder; without an adapter BACKBONE-text-...]",
)
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME",
    help="Once for each method with an adapter. [default: the newest of each, all of one backbone]",
)
@click.option("--backbone", metavar="NAME", help=f"{BACKBONE_HELP} openai: its name there. [default: the adapter's, else mini]")
@choose_engine
@ask_analyst
@click.option("--temperature", type=Finite(min=0), default=0.8, show_default=True)
@click.option("--top-p", type=Finite(0, 1, min_open=True), default=0.95, show_default=True)
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=2048, show_default=True, metavar="N")
@choose_parts
@as_of_moment
@as_trained
@at_commit
@may_download
@every_command
def command(
    setting: Setting,
    methods: tuple[str, ...],
    split: str | None,
    role: str,
    limit: int | None,
    seed: int,
    seeds: int,
    swap: bool,
    judge: str | None,
    study: str | None,
    report: Path | None,
    out: Path | None,
    adapters: tuple[str, ...],
    backbone: str | None,
    engine: str | None,
    tuning,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    at: str | None,
    as_of: float | None,
    min_peers: int | None,
    history: int | None,
    analyst: str | None,
    choices: dict,
    preset: str | None,
) -> None:
    """Compare methods on held-out reviews: each is written again by each method and compared with what the person wrote.

    The texts go to DIR as they are made, and the scores are computed from them: interrupted, the same command goes on.
    Nothing is fetched for a metric; one that cannot be computed here says why.

    \b
    Examples:
      dep eval --limit 200
      dep eval --limit 200 --seeds 3 --swap --report page.html
      dep eval --methods rag,dep --role validation --out results
      dep eval --methods nonperso,rag --split unseen-users
      dep eval --methods rag,pag,dpl,drp --limit 50
      dep eval --study k --methods rag --limit 100
      dep eval --study embeddings
      dep eval --judge openai:qwen3-32b --limit 100
      dep eval --methods rag,drp --engine openai --backbone qwen3-8b
      dep eval --preset dep-paper --methods nonperso,rag,dep
    """
    from depcli.actions.choosing import compared_parts, evaluation_folder
    from depcli.actions.evaluating import Plan, embedder_for, evaluate_store
    from depcli.errors import DepError
    from depcli.evaluation.studies import STUDIES, plain
    from depcli.records import Sampling
    from depcli.store import Store

    if report and not report.parent.is_dir():  # to find that out at the end would be late
        raise DepError(f"no folder {report.parent} for the page", f"make it: mkdir -p {report.parent}")
    sink = setting.sink
    store = Store.open(setting.profiles)
    plan = Plan(
        split=split,
        role=role,
        limit=limit,
        seeds=seeds,
        swap=swap,
        judge=judge,
        at=at,
        as_of=as_of,
        min_peers=min_peers,
        history=history,
        choices=choices,
        study=study,
    )
    if study:
        from depcli.actions import studying

        varied = _varied(study)
        plan = replace(
            plan,
            history=None if "history" in varied else history,
            choices={name: value for name, value in choices.items() if name not in varied},
        )
        if not typed(["methods"]):
            methods = STUDIES[study].methods
        parts, folders, reasons, found = studying.prepare(
            setting.profiles, study, methods, adapters, backbone=backbone, engine=engine
        )
        variants, plan = found.variants, replace(plan, pairs=found.pairs, missing=found.missing)
        for label, how in found.missing.items():
            sink.note(f"left out: {label}, which needs an adapter: {how}")
    else:
        check_concerned(methods)
        parts, folders, reasons = compared_parts(
            setting.profiles, methods, adapters, backbone=backbone, engine=engine, split=split
        )
        variants = plain(methods, folders)
    for reason in reasons:
        sink.note(reason)
    told = tell_preset(sink, preset, store=store, backbone=parts.backbone, engine=parts.engine, adapters=folders)
    if parts.form:
        agree_to_download(setting, parts.backbone, parts.form)
    else:
        sink.note("an endpoint gives no likelihood of a real review: that column stays empty")
    prepare_analyst(setting, analyst, methods)
    prepare_model(setting, judge, "real reviews, of other people too, and texts to be judged,")
    embedder = embedder_for(store, variants, plan, offline=setting.offline, ask=sink.ask)
    out = out or evaluation_folder(setting.profiles, parts, study=study, split=split, role=role)
    tell_moment(sink, as_of)
    with sink.progress("evaluating") as update:
        begun = False

        def show(event: dict) -> None:
            nonlocal begun
            if "note" in event:
                sink.note(event["note"])
                return
            if not begun:  # nothing is in the way any more
                sink.note(f"results go to {out}")
                begun = True
            update(event["done_requests"], event["total_requests"], f"{event['method']}: {_PHASES[event['phase']]}")

        results = evaluate_store(
            store=store,
            backbone=parts.backbone,
            variants=variants,
            out=out,
            plan=plan,
            embedder=embedder,
            sampling=Sampling(temperature, top_p, max_new_tokens, seed),
            engine_name=parts.engine,
            report=report,
            analyst=analyst,
            offline=setting.offline,
            tuning=tuning,
            on_event=show,
        )
    if report:
        sink.note(f"the page is {report}")
    sink.result({"out": str(out), **results, **told}, lambda: _show(sink, results, out))


def _varied(study: str) -> set[str]:
    """The options that a study varies, and which cannot be named as well; a preset's give way."""
    from depcli.evaluation.studies import STUDIES

    varied = {key for _, settings in STUDIES[study].levels for key in settings} - {"reduction"}
    if both := typed(sorted(varied)):
        raise click.UsageError(f"the study {study} varies --{both[0].replace('_', '-')}; leave it out.")
    return varied


def _show(sink, results: dict, out: Path) -> None:
    from depcli.cli import layout
    from depcli.evaluation.report.notes import notes_of
    from depcli.evaluation.report.tables import tables

    layout.report(sink, tables(results), notes_of(results))
    sink.note(f"how each metric was computed: results.json in {out}, or --json")
