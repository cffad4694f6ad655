"""What `dep ingest --filter` does before anything is stored, and how it shows what it dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from depcli.errors import BadInput


def filter_all(sink, inputs: Iterable[tuple[str, object]], limits: Mapping[str, int]):
    """Read every input once; the filter that knows what stays. Raises BadInput for an unknown rule, and for a file that breaks
    off."""
    from depcli.filtering.dpl import DplFilter
    from depcli.filtering.rules import thresholds

    filtering = DplFilter(thresholds(limits))
    for file, reader in inputs:
        with sink.progress(f"filtering {file}", "reviews" if reader.position is None else "kB") as update:
            for done in filtering.look(reader):
                if not done % 1000:
                    read, size = reader.position or (done * 1000, None)
                    update(read / 1000, size and size / 1000, detail=f"{done:,} reviews")
    filtering.decide()
    document = filtering.document()
    if not document["kept"]["reviews"]:
        if not sink.is_json:
            show_filter(sink, document)
        raise BadInput("the filter keeps no review, and no store was touched", "give --items, or ease a rule: --threshold RULE=N")
    return filtering


def show_filter(sink, document: dict) -> None:
    """A table with a line for each rule in each round that dropped something."""
    from depcli.cli.layout import holding

    rows = [
        [str(one["round"] or "-"), one["rule"], f"{one['reviews']:,}", f"{one['of']:,} {one['what']}" if one["what"] else ""]
        for one in document["dropped"]
    ]
    if rows:
        sink.table(("round", "dropped", "reviews", "of"), rows)
        sink.line()
    sink.line(f"the filter keeps {holding(document['kept'])}")
