"""The pieces that a table is in. Every write adds one, and many small ones make reading slow.

LanceDB's optimize() would join them too, but it copies all pieces of less than a million rows, and so nearly every store whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from depcli.store.disk import lance

_SMALL = 8192  # rows; a piece with fewer is worth joining with others
_ROWS_AT_ONCE, _PIECES_AT_ONCE = 4 * _SMALL, 256  # for the memory, and for the length of the filter


def join(table, spare: int) -> None:
    """Write the rows of small pieces anew, in larger ones, when there are more than `spare` of them. Killed half-way it leaves
    rows twice: only for tables that are rolled back then."""
    if lance.fragments(table) <= spare + table.count_rows() // _SMALL:
        return
    for group in _groups(lance.fragment_rows(table)):
        lance.add(table, [lance.rows_in(table, group)])
        lance.delete_in(table, group)


def _groups(sizes: dict[int, int]) -> Iterator[list[int]]:
    """The small ones of these pieces (number -> rows), cut into lists of two or more that are joined at once."""
    group, rows = [], 0
    for piece in sorted(piece for piece, size in sizes.items() if size < _SMALL):
        group.append(piece)
        rows += sizes[piece]
        if len(group) > 1 and (rows >= _ROWS_AT_ONCE or len(group) == _PIECES_AT_ONCE):
            yield group
            group, rows = [], 0
    if len(group) > 1:
        yield group
