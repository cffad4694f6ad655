"""The folder that an adapter is trained into: that it is free, and one training at a time in it. Two would mix their steps, and
each would remove the other's checkpoints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from depcli.adapters.files import CONFIG, LOCK, folder_of, unfinished
from depcli.errors import DepError, NotFound
from depcli.system.resumable import held
from depcli.training import checkpoints
from depcli.training.workers import launched_rank


def alone(function: Callable) -> Callable:
    """The function, called with `folder=`, raises DepError while another process is at work in that folder. Of torchrun's
    processes the first one holds the place for all. Where nothing came of it the folder goes again."""

    @wraps(function)
    def in_its_place(*, folder: Path, **given):
        if launched_rank() != 0:
            return function(folder=folder, **given)
        message = f"another process is training the adapter {folder.name!r} in {folder}"
        try:
            lock = held(folder / LOCK, DepError(message, "wait for it, or name another --adapter"))
        except OSError as error:
            message = f"no adapter can be trained in {folder}: {error.strerror}"
            raise DepError(message, "make room or give access there, or name another folder with --profiles") from error
        try:
            return function(folder=folder, **given)
        finally:
            if folder.is_dir() and os.listdir(folder) == [LOCK]:
                shutil.rmtree(folder)
            lock.release()

    return in_its_place


def claim(folder: Path) -> None:
    """Refuse to write over a finished or an unfinished run."""
    if checkpoints.exists(folder):
        raise DepError(
            f"{folder} holds an unfinished run", "go on with --resume, start again with --replace, or name another --adapter"
        )
    if (folder / CONFIG).exists():
        raise DepError(
            f"the adapter {folder.name!r} exists already", "name another with --adapter, or train it again with --replace"
        )


def unfinished_run(profiles: Path, usual: str, named: bool) -> str:
    """The name of the adapter whose run goes on: the `usual` one, or where nothing was `named` the only one that is unfinished.
    Raises NotFound with those that are."""
    there = unfinished(profiles)
    if usual in there:
        return usual
    if len(there) == 1 and not named:
        return there[0]
    hint = f"unfinished here: {', '.join(there)}; name one with --adapter" if there else "leave --resume out to start one"
    raise NotFound(f"there is no unfinished run in {folder_of(profiles, usual)}", hint)


def check_readable(store, folder: Path, commit: str) -> None:
    """Refuse to go on with a run whose reviews are gone."""
    try:
        store.snapshot(commit)
    except NotFound as error:
        hint = "begin again: --replace in place of --resume"
        raise NotFound(f"the run in {folder} cannot go on: {error.message}", hint) from error
