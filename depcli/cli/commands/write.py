"""`dep write`: one review in somebody's voice, or a file of them."""

from __future__ import annotations

from pathlib import Path

import click

from depcli.cli.options.analyst import ask_analyst, prepare_analyst, tell_profile
from depcli.cli.options.choices import as_trained, check_concerned, choose_parts
from depcli.cli.options.common import (
    BACKBONE_HELP,
    METHODS,
    Finite,
    MethodChoice,
    Setting,
    agree_to_download,
    at_commit,
    every_command,
    may_download,
    query_embedder,
)
from depcli.cli.options.engine import choose_engine
from depcli.cli.options.moment import as_of_moment, tell_moment
from depcli.cli.options.preset import choose_preset, tell_preset
from depcli.errors import DONE, FAILURE
from depcli.words import count


class Shard(click.ParamType):
    """I/N: which of how many parts."""

    name = "shard"

    def convert(self, value, param, ctx):
        part, slash, parts = value.partition("/")
        if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            self.fail(f"{value!r} is not I/N with I from 1 to N, such as 1/4.", param, ctx)
        return int(part), int(parts)


@click.command("write")
@click.option("--user", metavar="ID", help="Who writes: a user of the store.")
@click.option("--item", metavar="ID", help="About what: an item of the store, or a new one that you describe.")
@click.option(
    "--requests",
    metavar="FILE",
    help="Many at once: JSON lines with user_id, asin, maybe rating, title, item_title, item_description, item_task, id; or "
    "LaMP's questions; - for stdin.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Where those go, as JSON lines.")
@click.option(
    "--shard",
    type=Shard(),
    metavar="I/N",
    help="Only the I-th of N parts of --requests, for as many machines: their --out files, joined in order, are the whole.",
)
@click.option("--rating", type=Finite(0, 10, min_open=True), help="The rating that the review shall have.")
@click.option("--title", help="The title that the review shall have.")
@choose_preset()
@click.option("--method", default="dep", show_default=True, type=MethodChoice(METHODS), help="How to write.")
@choose_engine
@ask_analyst
@click.option("--adapter", metavar="NAME", help="[default: the newest one of the method, of the backbone if one is named]")
@click.option("--backbone", metavar="NAME", help=f"{BACKBONE_HELP} openai: its name there. [default: the adapter's, else mini]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, another review.")
@click.option("--temperature", type=Finite(min=0), default=0.8, show_default=True, help="0 takes the likeliest token each time.")
@click.option("--top-p", type=Finite(0, 1, min_open=True), default=0.95, show_default=True)
@click.option("--max-new-tokens", type=click.IntRange(min=1), metavar="N", help="[default: 2048, or less in a short context]")
@click.option("--item-title", metavar="TEXT", help="Title of the item, instead of the store's.")
@click.option("--item-description", metavar="TEXT", help="Description of the item, instead of the store's.")
@click.option("--item-task", metavar="TEXT", help="What to write where it is no review, such as 'Generate a headline'.")
@click.option("--template", metavar="NAME", help="full, compact[-user-first|-vectors], or a .jinja file; an adapter has its own.")
@at_commit
@as_of_moment
@as_trained
@choose_parts
@click.option("--show-prompt", is_flag=True, help="Show on stderr what the model reads; soft tokens appear as «his», «diff».")
@may_download
@every_command
def command(
    setting: Setting,
    user: str | None,
    item: str | None,
    requests: str | None,
    out: Path | None,
    shard: tuple[int, int] | None,
    rating: float | None,
    title: str | None,
    method: str,
    engine: str | None,
    tuning,
    adapter: str | None,
    backbone: str | None,
    seed: int,
    temperature: float,
    top_p: float,
    max_new_tokens: int | None,
    item_title: str | None,
    item_description: str | None,
    item_task: str | None,
    template: str | None,
    at: str | None,
    as_of: float | None,
    min_peers: int | None,
    history: int | None,
    show_prompt: bool,
    analyst: str | None,
    choices: dict,
    preset: str | None,
) -> int:
    """Write the review that a user would write about an item.

    The same seed gives the same review. An item that the store does not know is described by --item-title and
    --item-description.

    With --requests a whole file is written into --out, one line for each request and in their order. Interrupted, the same
    command goes on. A request that cannot be written has `error` in its line; then the exit code is 1.

    \b
    Examples:
      dep write --user rt_00000c4be36866a5 --item rt_1986
      dep write --user U --item new --item-title "A Kettle" --rating 2 --seed 7
      dep write --user U --item A --method nonperso --json
      dep write --user U --item A --as-of 2009-05-31
      dep write --user U --item A --method rag --engine openai --backbone qwen3-8b
      dep write --user U --item A --method drp --analyst llamacpp:qwen2.5-7b
      dep write --user U --item A --preset rag-paper --backbone mini
      dep write --requests wanted.jsonl --out written.jsonl
      CUDA_VISIBLE_DEVICES=0 dep write --requests wanted.jsonl --shard 1/2 --out part1.jsonl --engine vllm
    """
    from dataclasses import replace
    from functools import partial

    from depcli import engines
    from depcli.actions import writing
    from depcli.actions.choosing import writing_parts
    from depcli.adapters.files import read_config
    from depcli.analysts.choose import analyst as asked_analyst
    from depcli.cli.written import document_of, show_batch, show_progress, tell_unknown, tell_written
    from depcli.errors import DepError
    from depcli.profiles import kept_states
    from depcli.records import Sampling
    from depcli.store import Store

    of_one = {
        "--user": user,
        "--item": item,
        "--rating": rating,
        "--title": title,
        "--item-title": item_title,
        "--item-description": item_description,
        "--item-task": item_task,
        "--show-prompt": show_prompt or None,
    }
    _check_use(requests, out, shard, of_one)
    check_concerned([method])
    sink = setting.sink
    store = Store.open(setting.profiles)
    snapshot = store.snapshot(at, as_of=as_of)
    tell_moment(sink, as_of)
    if requests is None:
        request = writing.find_request(
            snapshot,
            user,
            item,
            rating=rating,
            title=title,
            item_title=item_title,
            item_description=item_description,
            item_task=item_task,
        )
        if not (request.item.title or request.item.description):
            sink.note(f"nothing is known of {item}: the text may be about anything (--item-title, --item-description)")
    else:
        from depcli import readers
        from depcli.actions import batch

        lines = readers.read_requests(requests, partial(tell_unknown, sink, requests))
        total = _total(requests, shard)
        if shard:
            lines, total = readers.shard_of(lines, total, shard)
    parts = writing_parts(setting.profiles, method=method, adapter=adapter, backbone=backbone, engine=engine)
    for reason in parts.reasons:
        sink.note(reason)
    told = tell_preset(
        sink,
        preset,
        store=store,
        backbone=parts.backbone,
        engine=parts.engine,
        adapters={method: parts.adapter} if parts.adapter else None,
    )
    if parts.form:
        agree_to_download(setting, parts.backbone, parts.form)
    prepare_analyst(setting, analyst, [method])
    trained = read_config(parts.adapter)["choices"] if parts.adapter else {}
    embedder = query_embedder(setting, store, [method], {**trained, **choices}.get("retrieval"))
    drawing = Sampling(temperature, top_p, seed=seed)
    kept = kept_states(store, snapshot) if requests is None else None
    with (
        engines.load(parts.engine, parts.backbone, offline=setting.offline, tuning=tuning, kept=kept) as loaded,
        asked_analyst(analyst, loaded, parts.backbone, drawing, offline=setting.offline) as asked,
    ):
        writer = writing.make_writer(
            store=store,
            snapshot=snapshot,
            method=method,
            backbone=parts.backbone,
            engine=loaded,
            adapter_folder=parts.adapter,
            template=template,
            min_peers=min_peers,
            history=history,
            analyst=asked,
            embedder=embedder,
            choices=choices,
            on_profile=lambda used: None if requests else sink.note(f"{asked.name} makes a profile from {count(used, 'review')}"),
        )
        if writer.caution:
            sink.note(writer.caution)
        sampling = replace(drawing, max_new_tokens=max_new_tokens or min(drawing.max_new_tokens, writer.room))
        if requests is not None:
            with sink.progress("writing", "reviews") as update:
                settings = batch.settings_of(writer, snapshot, parts.backbone, sampling, asked, tuning)
                report = batch.write_all(
                    lines, out, writer, snapshot, sampling, settings, total=total, on_progress=partial(show_progress, update)
                )
            show_batch(sink, requests, out, report)
            return FAILURE if report.failed else DONE
        # An endpoint may begin a thought itself, so that only its end tells: no file gets that.
        streamed = not sink.is_json and (sink.on_terminal or not loaded.blind)
        (written,) = writer.write([request], sampling, sink.piece if streamed else None)
    if written.problem:
        raise DepError(written.problem, "raise --max-new-tokens, or ask a model that does not think first")
    document = {**document_of(written, parts, sampling, snapshot, writer, show_prompt), **told}
    if written.prompt.profile:
        from depcli.actions.portraits import profile_document

        document |= {"analyst": asked.name, "profile": profile_document(written.prompt.profile)}
    sink.result(document, lambda: sink.piece("\n" if streamed else f"{document['text']}\n"))  # what was streamed is there
    if show_prompt and not sink.is_json:
        sink.aside(document["prompt"].rstrip("\n"))
    if "profile" in document:
        tell_profile(sink, document["profile"])
    tell_written(sink, document)
    return DONE


def _check_use(requests: str | None, out: Path | None, shard: tuple[int, int] | None, of_one: dict) -> None:
    """Options of one review do not go with those of many."""
    if shard and requests is None:
        raise click.UsageError("--shard is for --requests.")
    if requests is None and out is None:
        if missing := [option for option in ("--user", "--item") if of_one[option] is None]:
            raise click.UsageError(f"{' and '.join(missing)} missing: who writes about what, or --requests and --out.")
        return
    if requests is None or out is None:
        raise click.UsageError("--requests and --out go together.")
    if str(out) == "-":
        raise click.UsageError("--out needs a file: what is written stays there when it is interrupted.")
    if given := [option for option, value in of_one.items() if value is not None]:
        raise click.UsageError(f"{given[0]} is for one review; with --requests each line says it.")


def _total(requests: str, shard: tuple[int, int] | None) -> int | None:
    """How many lines there are; None for a pipe, and for a file that breaks off: what stands before is written all the same. A
    shard is none without a total."""
    from depcli.errors import BadInput
    from depcli.readers import count_requests

    try:
        total = count_requests(requests)
    except BadInput:
        if shard:
            raise
        return None
    if shard and total is None:
        raise click.UsageError("--shard counts the lines first: give --requests a file, not a pipe.")
    return total
