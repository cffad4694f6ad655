"""A file whose last piece finds no room, which LanceDB itself takes for whole."""

from __future__ import annotations

import lancedb
import pyarrow as pa
import pytest

from depcli.store.disk import lance
from depcli.store.disk.whole import whole_files
from tests.store.disk.test_failures import little_room


def rows(first: int, last: int) -> pa.Table:
    return pa.table({"a": list(range(first, last))})


def held(table) -> list[int]:
    return sorted(table.search().limit(None).to_arrow().column("a").to_pylist())


@pytest.mark.parametrize(("pieces", "more"), [(1, 5000), (60, 2)])  # after 60 pieces going back finds no room either
def test_what_cannot_be_read_does_not_stay(tmp_path, pieces, more):
    table = lancedb.connect(tmp_path).create_table("t", rows(0, 1))
    for number in range(1, pieces):
        table.add(rows(number, number + 1))
    before = held(table)
    size = size_of(tmp_path / "measured", more)
    with little_room(size - 1), pytest.raises(OSError, match="No space left"), whole_files(table):
        table.add(rows(100, 100 + more))
    for seen in (table, lancedb.connect(tmp_path).open_table("t")):
        assert held(seen) == before
    lance.add(table, [rows(6000, 6002)])
    for seen in (table, lancedb.connect(tmp_path).open_table("t")):
        assert held(seen) == [*before, 6000, 6001]


def size_of(path, count: int) -> int:
    """Bytes of the file that so many rows make."""
    lancedb.connect(path).create_table("t", rows(100, 100 + count))
    return next((path / "t.lance" / "data").iterdir()).stat().st_size


def test_lancedb_still_needs_it(tmp_path):
    """When this fails, a newer LanceDB notices by itself, and store/disk/whole.py can go."""
    table = lancedb.connect(tmp_path).create_table("t", rows(0, 1))
    with little_room(size_of(tmp_path / "measured", 5000) - 1):
        table.add(rows(100, 5100))
    with pytest.raises(RuntimeError):
        held(table)


def test_an_error_inside_stays_what_it_is(tmp_path):
    table = lancedb.connect(tmp_path).create_table("t", rows(0, 1))
    with pytest.raises(ZeroDivisionError), whole_files(table):
        raise ZeroDivisionError


def test_what_macos_puts_beside_each_file_is_no_cut_file(tmp_path):
    table = lancedb.connect(tmp_path).create_table("t", rows(0, 1))
    with whole_files(table):
        table.add(rows(1, 2))
        for path in list((tmp_path / "t.lance" / "data").iterdir()):
            path.with_name(f"._{path.name}").write_bytes(b"attributes")
    assert table.count_rows() == 2
