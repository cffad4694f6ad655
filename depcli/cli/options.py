"""The options that every command has, and what they become."""

from __future__ import annotations

import os
from collections.abc import Callable
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


def every_command(function: Callable) -> Callable:
    """Add the shared options to a command; it gets a Setting as its first argument."""

    @wraps(function)
    def with_setting(*, profiles: Path, offline: bool, as_json: bool, quiet: bool, no_progress: bool, **rest):
        offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in _ON
        sink = Sink("json" if as_json else "human", quiet=quiet, progress=not no_progress)
        _prepare_environment(offline, sink)
        return function(Setting(profiles, offline, sink), **rest)

    for option in reversed(_SHARED):
        with_setting = option(with_setting)
    return with_setting


_SHARED = (
    click.option(
        "--profiles", type=click.Path(path_type=Path), envvar="DEP_PROFILES", default="profiles", show_default="./profiles",
        show_envvar=True, metavar="PATH", help="The store folder.",
    ),
    click.option("--offline", is_flag=True, help="Never touch the network (also: HF_HUB_OFFLINE=1)."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document."),
    click.option("-q", "--quiet", is_flag=True, help="No notes and no progress: the result and errors only."),
    click.option("--no-progress", is_flag=True, help="No progress bars."),
)  # fmt: skip


def _prepare_environment(offline: bool, sink: Sink) -> None:
    """Libraries read these variables when they are imported, which has not happened yet."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sink.shows_progress:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
