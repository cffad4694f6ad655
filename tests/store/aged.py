"""Stores whose past is as old as a test wants it."""

from __future__ import annotations

from datetime import datetime, timedelta

import lancedb

TABLES = ("reviews", "items", "item_sums")


def tables_of(store) -> dict:
    db = lancedb.connect(str(store.folder))
    return {name: db.open_table(name) for name in (*TABLES, "commits")}


def make_older(store, days: float) -> None:
    """Everything so far was done as many days earlier: what the commits say, and the times inside of LanceDB's manifests."""
    tables = tables_of(store)
    for name in TABLES:
        for version in tables[name].list_versions():
            manifest = store.folder / f"{name}.lance" / "_versions" / f"{2**64 - 1 - version['version']}.manifest"
            seconds = int(version["timestamp"].timestamp())
            data = manifest.read_bytes()
            assert data.count(varint(seconds)) == 1
            manifest.write_bytes(data.replace(varint(seconds), varint(seconds - round(days * 86400))))
    rows = tables["commits"].to_arrow()
    made = [datetime.fromisoformat(text) - timedelta(days=days) for text in rows.column("created").to_pylist()]
    place = rows.schema.get_field_index("created")
    rows = rows.set_column(place, rows.schema.field(place), [[moment.isoformat(timespec="milliseconds") for moment in made]])
    tables["commits"].add(rows, mode="overwrite")


def varint(number: int) -> bytes:
    """As in protobuf: seven bits a byte, the lowest first."""
    return bytes([number & 127]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)
