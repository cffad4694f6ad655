"""`--preset NAME`: the options of a published row as the defaults of a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from depcli.actions.presets import PRESETS, deviations, options_of
from depcli.cli.sink import Sink


def choose_preset(*, training: bool = False) -> Callable:
    """The option, among the presets with something to learn when `training`. What is typed beside it wins."""
    names = [name for name, preset in PRESETS.items() if preset.learned or not training]
    return click.option(
        "--preset",
        type=click.Choice(names),
        is_eager=True,
        callback=_become_defaults,
        metavar="NAME",
        help=f"All options of a row of the papers' tables, and how this differs from it: {', '.join(names)}.",
    )


def _become_defaults(context: click.Context, _, name: str | None) -> str | None:
    if name:
        known = [parameter.name for parameter in context.command.params]
        context.default_map = {**(context.default_map or {}), **options_of(PRESETS[name], known)}
    return name


def tell_preset(
    sink: Sink, name: str | None, *, store, backbone, engine: str | None = None, adapters: Mapping[str, Path] | None = None
) -> dict:
    """Show what the preset of the running command became, and each deviation from the paper. Returns {"preset": ...} for the
    document, {} without one. `adapters` are folders by method."""
    from depcli.adapters.files import read_config

    if name is None:
        return {}
    preset, found = PRESETS[name], click.get_current_context().params
    folder = (adapters or {}).get(preset.method)
    trained = read_config(folder) if folder else None
    said = deviations(preset, found, embedder=store.embedder.name, backbone=backbone, engine=engine, trained=trained)
    options = {option: found[option] for option in options_of(preset, found)}
    shown = (f"{option.replace('_', '-')} {','.join(v) if isinstance(v, tuple) else v}" for option, v in options.items())
    sink.note(f"preset {name} ({preset.row}): {', '.join(shown)}")
    for deviation in said:
        sink.note(f"not as published: {deviation}")
    return {"preset": {"name": name, "row": preset.row, "options": options, "deviations": said}}
