"""Where a run stands: enough to go on as if it had never stopped."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from depcli.adapters.files import CHECKPOINTS, METRICS
from depcli.adapters.trained_for import KEY
from depcli.errors import BadInput, Incompatible, NotFound
from depcli.system.atomic import write_atomically
from depcli.system.resumable import differences

_STATE = "last.pt"


@dataclass
class Progress:
    """Finished steps and epochs, and the best validation so far (`best_score` is better when higher)."""

    step: int = 0
    epoch: int = 0
    best_score: float | None = None
    best_epoch: int = 0
    validations: list[dict] = field(default_factory=list)
    seconds: float = 0.0


def path_of(folder: Path) -> Path:
    return folder / CHECKPOINTS / _STATE


def exists(folder: Path) -> bool:
    return path_of(folder).is_file()


def settings_of(folder: Path) -> dict:
    """The settings that the unfinished run was begun with. Raises NotFound when there is none, BadInput when it is damaged."""
    if not exists(folder):
        raise NotFound(f"there is no unfinished run in {folder}", "leave --resume out to start one")
    return json.loads(_load(folder)["settings"])


def save(folder: Path, settings: dict, progress: Progress, adapter, optimizer, best: dict | None) -> None:
    """One file, replaced atomically: weights, optimizer, position, and the best weights so far."""
    buffer = io.BytesIO()
    torch.save(
        {
            "settings": json.dumps(settings, sort_keys=True),
            "progress": asdict(progress),
            "adapter": adapter.state_dict(),
            "optimizer": optimizer.state_dict(),
            "best": best,
        },
        buffer,
    )
    write_atomically(path_of(folder), buffer.getvalue())


def check_same(begun: dict, settings: dict) -> None:
    """Raise Incompatible when a run that was `begun` with other settings should go on with these. Where the backbone lies and
    what its folder is called does not count: its weights are compared."""
    begun, settings = (_wherever_the_backbone_is(each) for each in (begun, json.loads(json.dumps(settings))))
    if changed := "; ".join(differences(begun, settings)):
        hint = "leave these options out, and it goes on with its own; or begin again: --replace, or another --adapter name"
        if begun.get("chat") != settings.get("chat"):
            hint = "the backbone's chat format is not that of then: put its tokenizer back, or begin again: --replace"
        elif _only_divided_otherwise(begun, settings):
            hint = "another version of dep divided the same reviews otherwise: begin again: --replace"
        raise Incompatible(f"this run was begun with other settings ({changed})", hint)


def _only_divided_otherwise(begun: dict, settings: dict) -> bool:
    """Whether nothing differs but what a split of the same name makes of the same store."""
    one, other = ({**each, "split": each.get("split", {}).get("name")} for each in (begun, settings))
    return one == other


def _wherever_the_backbone_is(settings: dict) -> dict:
    backbone = {name: value for name, value in settings.get("backbone", {}).items() if name != "name"}
    return {name: value for name, value in settings.items() if name != KEY} | {"backbone": backbone}


def restore(folder: Path, adapter, optimizer) -> tuple[Progress, dict | None]:
    """Load the checkpoint into adapter and optimizer: (where the run stands, the best weights so far)."""
    state = _load(folder)
    adapter.load_state_dict(state["adapter"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"]), state["best"]


def _load(folder: Path) -> dict:
    try:
        return torch.load(path_of(folder), weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # of damaged bytes pickle says anything
        hint = f"begin again with --replace, or delete {folder / CHECKPOINTS}"
        raise BadInput(f"{path_of(folder)} is damaged", hint) from error


def keep_metrics(folder: Path, progress: Progress) -> None:
    """Keep the lines up to the checkpoint; steps and validations after it will be made again."""
    path = folder / METRICS
    lines = path.read_text().splitlines() if path.exists() else []
    kept = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # the line that a kill cut short
            break
        if event["step"] <= progress.step and ("validation_score" not in event or event["epoch"] < progress.epoch):
            kept.append(line + "\n")
    write_atomically(path, "".join(kept).encode())
