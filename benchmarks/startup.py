"""What `dep --help` costs, as a multiple of `python -c "import click"`: wall time of whole processes, run in turn.

    python benchmarks/startup.py [--runs 30] [--json OUT]

Goal: at most 2.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import click": [sys.executable, "-c", "import click"],
    "dep --help": [sys.executable, "-c", "import sys; from depcli.cli import main; sys.exit(main(['--help']))"],
    "dep write --help": [sys.executable, "-c", "import sys; from depcli.cli import main; sys.exit(main(['write', '--help']))"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


@click.command()
@click.option("--runs", default=30, show_default=True)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def main(runs: int, json_path: Path | None) -> None:
    """Print medians and their ratio to importing click."""
    for command in COMMANDS.values():
        seconds(command)  # compiled files, and the files in the system's cache
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(runs)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in COMMANDS}
    ratios = {name: medians[name] / medians["import click"] for name in COMMANDS}
    for name in COMMANDS:
        click.echo(f"{name:18} {1000 * medians[name]:7.1f} ms  {ratios[name]:5.2f}")
    if json_path:
        result = {"runs": runs, "python": platform.python_version(), "median_seconds": medians, "ratio_to_import_click": ratios}
        json_path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
