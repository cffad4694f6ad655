"""Numbers of things, in words."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """How many of a thing whose plural takes an s."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
