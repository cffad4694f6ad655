"""`dep methods`: what a review can be written by."""

from __future__ import annotations

import click

from depcli.cli.options import Setting, every_command


@click.command("methods")
@every_command
def command(setting: Setting) -> None:
    """List the methods with what each needs, those of other packages too.

    \b
    Examples:
      dep methods
      dep methods --json
    """
    from depcli import methods
    from depcli.cli import layout
    from depcli.methods import outside

    sink, theirs = setting.sink, outside.names()
    documents = [
        {
            "name": name, "summary": method.summary, "needs": _needs(method), "past_reviews_as_text": method.history,
            "adapter": method.needs_adapter, "analyst": method.profile is not None, "bundled": name not in theirs,
        }
        for name, method in ((name, methods.find(name)) for name in methods.names())
    ]  # fmt: skip
    rows = [(one["name"], ", ".join(one["needs"]) or "-", one["summary"]) for one in documents]
    sink.result({"methods": documents}, lambda: layout.table(sink, ("method", "needs", "what the model reads"), rows, flexible=2))


def _needs(method) -> list[str]:
    found = {
        "an adapter": method.needs_adapter,
        "the embedder": method.before is not None,
        "an analyst": method.profile is not None,
        "peers": method.peers,
    }
    return [need for need, needed in found.items() if needed]
