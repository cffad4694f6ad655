"""`dep methods`: what a review can be written by."""

from __future__ import annotations

import click

from depcli.cli.options.common import Setting, every_command


@click.command("methods")
@every_command
def command(setting: Setting) -> None:
    """List the methods with what each needs, those of other packages too.

    An adapter is what `dep train` makes, an analyst the model that makes profiles: the one that writes, unless --analyst names
    another. Peers are the others who reviewed the same items.

    \b
    Examples:
      dep methods
      dep methods --json
    """
    from depcli import methods
    from depcli.methods import outside

    sink, theirs = setting.sink, outside.names()
    documents = [
        {
            "name": name,
            "summary": method.summary,
            "needs": _needs(method),
            "past_reviews_as_text": method.history,
            "adapter": method.needs_adapter,
            "analyst": method.profile is not None,
            "bundled": name not in theirs,
        }
        for name, method in ((name, methods.find(name)) for name in methods.names())
    ]
    sink.result({"methods": documents}, lambda: _show(sink, documents))


def _show(sink, documents: list[dict]) -> None:
    from depcli.cli import layout

    width = max(len(one["name"]) for one in documents) + 2
    for one in documents:
        needs = f" (needs {' and '.join(one['needs'])})" if one["needs"] else ""
        first, *more = layout.paragraph(one["summary"] + needs, indent=" " * width, lines=4)
        sink.line(one["name"].ljust(width) + first[width:])
        for line in more:
            sink.line(line)


def _needs(method) -> list[str]:
    found = {
        "an adapter": method.needs_adapter,
        "the embedder": method.before is not None,
        "an analyst": method.profile is not None,
        "peers": method.peers,
    }
    return [need for need, needed in found.items() if needed]
