"""What a person reads of runs that were compared."""

from __future__ import annotations

import json
from collections.abc import Iterator

from depcli.evaluation.report.notes import cautions, tests_done
from depcli.evaluation.report.tables import difference_rows
from depcli.evaluation.report.titles import TITLES, Table, number
from depcli.words import count


def tables(found: dict) -> Iterator[Table]:
    """(columns, rows): the means on the shared requests, and the differences."""
    metrics = [metric for metric in TITLES if any(metric in values for values in found["systems"].values())]
    yield (
        ["on what they share", *(TITLES[metric] for metric in metrics)],
        [[name, *(number(values.get(metric), metric) for metric in metrics)] for name, values in found["systems"].items()],
    )
    yield difference_rows(found["differences"], found["targets"])


def notes(found: dict) -> list[str]:
    """Sentences that belong beside the tables."""
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        f"in all runs: {count(found['targets'], 'held-out review')} of {count(found['users'], 'user')}; "
        f"averaged over the seed{'s'[: len(found['seeds']) != 1]} {seeds}",
        *cautions(found["users"], found["targets"]),
        tests_done(found["tests"], found["users"]),
    ]
    for name, values in found["other_settings"].items():
        said = "; ".join(f"{run['name']}: {json.dumps(value)}" for run, value in zip(found["runs"], values, strict=True))
        lines.append(f"other {name}: {said}")
    return lines + found["notes"]
