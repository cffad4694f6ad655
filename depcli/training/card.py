"""The card beside the weights: what the adapter is for, what it was trained on, how well it does, what it gives away."""

from __future__ import annotations

from pathlib import Path

from depcli import methods
from depcli.adapters.files import CARD
from depcli.personal.history import moment_text
from depcli.system.atomic import write_atomically
from depcli.words import count

NAMES = {"nonperso": "Non-Perso", "rag": "RAG", "dep": "DEP", "pplug": "PPlug", "trained-prompt": "Trained prompt"}

_CARD = """# {name} adapter for {backbone_name}

Trained by `dep train --method {method}`: {summary}. Its soft tokens are for the frozen backbone **{backbone_name}** (revision
`{revision}`, hidden size {hidden}).

| | |
|---|---|
| embedder | {embedder} |
| trained on | {train} reviews ({split}{moment}), {history} past reviews each at most |
| differences | from {peers} or more{weighted} |
| parameters | {parameters:,}{reduced} |
| best epoch | {best_epoch}, by {select_by} |
| training time | {seconds:.0f} s |

Validation loss per token of {validation} real reviews (nats, lower is better), and how far {name} is from each (paired bootstrap
over {over}, 95 %{flattered}):

| method | loss | {name} minus it |
|---|---|---|
{text_alone}
| {name} (this adapter) | {trained:.4f} | |

What stands above it prompts the same backbone without any training; part of {name}'s lead is therefore tuning to the task, not
knowledge of the person. `dep eval` measures on test reviews that chose nothing here.

## Limits and privacy
It loads only onto this backbone and onto vectors of this embedder. Its weights were fitted to the users of one store: forgetting
a user there does not change this file, so train it again where that matters. Store commit: `{commit}`.
"""


def write_card(folder: Path, config: dict) -> None:
    """Write README.md from the resolved configuration."""
    losses, embedder = config["validation_losses"], config["embedder"]
    text = _CARD.format(
        backbone_name=config["backbone"]["name"],
        revision=str(config["backbone"]["revision"])[:12],
        hidden=config["backbone"]["hidden_size"],
        embedder=f"{embedder['name']}, {embedder['dimension']}-d ({embedder['revision']})",
        train=config["train_reviews"],
        split=config["split"]["name"],
        moment="" if config["as_of"] is None else f", as of {moment_text(config['as_of'])}",
        history=config["history"],
        peers=count(config["min_peers"], "peer"),
        weighted=", weighted by distance" if config["choices"]["peer_weighting"] == "distance" else "",
        parameters=config["parameters"],
        reduced=f", `--reduction {config['reduction']}`" if config["method"] == "dep" else "",
        best_epoch=config["best_epoch"] + 1,
        select_by=config["select_by"],
        flattered="; the same reviews chose the best epoch, which flatters it a little" if len(config["validations"]) > 1 else "",
        seconds=config["seconds"],
        validation=config["validation_reviews"],
        over="users" if config["validation_users"] > 1 else "reviews of one user",
        commit=config["store_commit"],
        text_alone="\n".join(
            f"| {NAMES[name]} | {losses[name]:.4f} | {interval_text(found)} |" for name, found in config["minus"].items()
        ),
        name=NAMES.get(config["method"], config["method"]),
        method=config["method"],
        summary=methods.find(config["method"]).summary,
        trained=losses[config["method"]],
    )
    write_atomically(folder / CARD, text.encode())


def interval_text(found: dict) -> str:
    """A difference and its interval, as one reads them; of one review there is no interval."""
    ends = "" if found["low"] is None else f" [{found['low']:+.4f}, {found['high']:+.4f}]"
    return f"{found['difference']:+.4f}{ends}"
