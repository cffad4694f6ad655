"""The options that every command has, and what they become."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import click

from depcli.cli.sink import Sink

_ON = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class Setting:
    """Where a command works: the store folder, whether the network is off limits, and where its output goes."""

    profiles: Path
    offline: bool
    sink: Sink

    def on_wait(self, holder: str) -> None:
        """Say that another process has the right to write."""
        self.sink.note(f"waiting for process {holder}, which is writing to the store")


class Folder(click.Path):
    """A folder that has a name. (For Python an empty one is the folder where one is.)"""

    def convert(self, value, param, ctx):
        if value == "":
            self.fail("an empty name is no folder: name one, or '.' for this one, or leave the option out.", param, ctx)
        return super().convert(value, param, ctx)


def every_command(function: Callable) -> Callable:
    """Add the shared options to a command; it gets a Setting as its first argument."""

    @wraps(function)
    def with_setting(*, profiles: Path, offline: bool, as_json: bool, quiet: bool, no_progress: bool, yes: bool = False, **rest):
        offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in _ON
        sink = Sink("json" if as_json else "human", quiet=quiet, progress=not no_progress, yes=yes)
        _prepare_environment(offline, sink)
        return function(Setting(profiles, offline, sink), **rest)

    for option in reversed(_SHARED):
        with_setting = option(with_setting)
    return with_setting


_SHARED = (
    click.option(
        "--profiles",
        type=Folder(path_type=Path),
        envvar="DEP_PROFILES",
        default="profiles",
        show_default=True,
        show_envvar=True,
        metavar="PATH",
        help="The store folder.",
    ),
    click.option("--offline", is_flag=True, help="Never touch the network (also: HF_HUB_OFFLINE=1)."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document."),
    click.option("-q", "--quiet", is_flag=True, help="No notes and no progress: the result and errors only."),
    click.option("--no-progress", is_flag=True, help="No progress bars."),
)


may_download = click.option("-y", "--yes", is_flag=True, help="Download what is needed without asking (its size is said).")


no_wait = click.option("--no-wait", is_flag=True, help="Fail at once when another process writes to the store.")


at_commit = click.option("--at", metavar="COMMIT", help="Read the store as this commit left it: its number or id, see dep log.")


def _prepare_environment(offline: bool, sink: Sink) -> None:
    """Libraries read these variables when they are imported, which has not happened yet."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sink.shows_progress:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"


class Finite(click.FloatRange):
    """A number in a range. (Click's own range lets NaN through: it is neither below nor above.)"""

    name = "number"

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


# What `--help` shows without loading the registry, which a test compares them with; PROFILED is in analyst.py.
METHODS = ("nonperso", "rag", "pag", "dpl", "drp", "pplug", "trained-prompt", "dep")
TRAINED = ("dep", "pplug", "trained-prompt")


class MethodChoice(click.Choice):
    """One of these methods, or one that another package brings."""

    def convert(self, value, param, ctx):
        return value if value not in self.choices and value in methods_from_outside() else super().convert(value, param, ctx)


def methods_from_outside() -> list[str]:
    from depcli.methods import outside

    return outside.names()


BACKBONE_HELP = "The language model: mini, qwen2.5-0.5b, -1.5b, -7b, -32b, a model folder, or a hub id."


def agree_to_download(setting: Setting, backbone, form: str) -> None:
    """Say what would be fetched and ask. `form` is 'weights' or 'gguf'. Raises NeedsNetwork when it may not be fetched."""
    from depcli import backbones
    from depcli.errors import NeedsNetwork

    download = backbones.needed(backbone, form, offline=setting.offline)
    if download is not None and not setting.sink.ask(f"Download {download}?"):
        hint = "say yes to the download (--yes where nobody is asked), or name another model: mini comes with dep"
        raise NeedsNetwork(f"{download} is not on this machine", hint)


def query_embedder(setting: Setting, store, methods: Iterable[str], retrieval: str | None = None):
    """The store's embedder where one of these methods needs it to write, else None. Its download is asked for."""
    from depcli import embedders

    return embedders.for_queries(methods, store, retrieval=retrieval, offline=setting.offline, ask=setting.sink.ask)
