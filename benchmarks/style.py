"""What the bundled style projection is worth on people it was not fitted to: python benchmarks/style.py PROFILES...

Each PROFILES holds the critics of the benchmark, embedded by some embedder. Prints the lines of `dep signal` for the half of them
that no bundled weights have seen (any review of), and for the other half, whose last five reviews were held out.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from depcli.evaluation import signal
from depcli.recipes.corpus import unseen
from depcli.store import Store


@click.command()
@click.argument("profiles", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(profiles: tuple[Path, ...]) -> None:
    for folder in profiles:
        snapshot = Store.open(folder).snapshot()
        targets = signal.held_out_reviews(snapshot)
        for half, wanted in (("never seen", True), ("seen, not these reviews", False)):
            chosen = [target for target in targets if unseen(target.user_id) is wanted]
            for kind, found in signal.measure(snapshot, chosen).items():
                for row in found["last"]:
                    line = {"embedder": snapshot.embedder.name, "users": half, "of": kind, "n": found["users"], **row}
                    click.echo(json.dumps({key: round(v, 4) if isinstance(v, float) else v for key, v in line.items()}))


if __name__ == "__main__":
    main()
