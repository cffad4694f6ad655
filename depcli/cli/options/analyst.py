"""`--analyst ENGINE:MODEL`: who is asked about a user, and what a profile is told of."""

from __future__ import annotations

from collections.abc import Collection

import click

from depcli.cli.options.common import Setting, agree_to_download
from depcli.words import count

PROFILED = ("pag", "dpl", "drp")
_LINES = 16  # of a text that is shown; --json has all of it


class EngineAndModel(click.ParamType):
    """ENGINE:MODEL, with an engine that there is."""

    name = "ENGINE:MODEL"

    def convert(self, value, param, ctx):
        from depcli.engines import NAMES

        engine, _, model = value.partition(":")
        if engine not in NAMES or not model:
            self.fail(f"{value!r} is not {self.name} with an engine of {', '.join(NAMES)}, such as llamacpp:mini.", param, ctx)
        return value


ask_analyst = click.option(
    "--analyst",
    type=EngineAndModel(),
    metavar="ENGINE:MODEL",
    help="Who makes the profile of pag, dpl, drp, such as llamacpp:qwen2.5-7b or openai:NAME. [default: who writes]",
)


def prepare_analyst(setting: Setting, asked: str | None, methods: Collection[str]) -> None:
    """Refuse an analyst that nobody would ask, and agree to its download. Raises UsageError, NotFound, NeedsNetwork."""
    from depcli.methods import find

    if asked is not None and not any(find(method).profile for method in methods):
        raise click.UsageError(f"--analyst is for {', '.join(PROFILED)}")
    prepare_model(setting, asked, "reviews of the users, and for dpl and drp of their peers,")


def prepare_model(setting: Setting, asked: str | None, what: str) -> None:
    """Agree to the download of ENGINE:MODEL, where one is asked for, and tell where `what` goes if it runs elsewhere. Raises
    NotFound, NeedsNetwork, and BadInput or DepError for an endpoint that cannot be asked."""
    from depcli import engines
    from depcli.analysts.choose import named
    from depcli.engines.endpoint import find_endpoint

    if asked is None:
        return
    engine, backbone = named(asked)
    if form := engines.FORMS[engine]:
        agree_to_download(setting, backbone, form)
    else:
        setting.sink.note(f"{what} go to {find_endpoint(offline=setting.offline)}")


def cost(analysis: dict) -> str:
    """What making a profile took, and what failed on the way."""
    said = [
        f"{count(analysis['calls'], 'call')}, {analysis['prompt_tokens']:,} tokens read, "
        f"{analysis['generated_tokens']:,} written, {analysis['seconds']:.1f} s"
    ]
    if analysis["failures"]:
        said.append("unusable answers: " + ", ".join(f"{kind} {count}" for kind, count in analysis["failures"].items()))
    if analysis["dropped"]:
        said.append(f"{count(analysis['dropped'], 'question')} without an answer")
    return "; ".join(said)


def tell_profile(sink, profile: dict) -> None:
    """What became of the profile of a text that was just written."""
    made = "found again, it had taken " if profile["reused"] else ""
    sink.note(f"profile: {made}{cost(profile['analysis'])}")
    if profile["commanding"]:
        sink.note(f"{profile['commanding']} of the reviews read as orders to a model; they were shown as quotations")
    if not profile["text"]:
        sink.note("the profile is empty, and the review was written without one")


def show_profile(sink, document: dict) -> None:
    """The newest profile of a user: the text, then what it rests on."""
    from depcli.cli import layout

    entry = document["profiles"][0]
    profile = entry["profile"]
    sink.heading(layout.one_line(document["user_id"], layout.WIDTH))
    sink.line(f"{document['method']}, by {entry['analyst']}, {entry['created'][:10]}, commit {entry['store_commit']}")
    layout.show(sink, profile["text"], lines=_LINES)
    compared = f"{count(profile['anchors'], 'review')} compared with those of peers"
    for number, dimension in enumerate(profile["dimensions"], 1):
        if number == 1:
            sink.line()
            sink.heading(f"Dimensions ({compared}, {count(profile['rejected'], 'proposal')} did not hold)")
        sink.line()
        layout.show(sink, f"{number}. {dimension['name']}, seen in {dimension['seen']}: {dimension['definition']}", lines=_LINES)
        layout.show(sink, dimension["differences"][0]["text"], indent="   ", lines=_LINES)
    if profile["differences"]:
        sink.line()
        sink.heading(f"Differences ({compared})")
    for difference in profile["differences"]:
        sink.line()
        layout.show(sink, difference["asin"], lines=_LINES)
        layout.show(sink, difference["text"], indent="   ", lines=_LINES)
    sink.note(cost(profile["analysis"]))
    if older := len(document["profiles"]) - 1:
        sink.note(f"{count(older, 'older profile')} kept: --json shows all")
