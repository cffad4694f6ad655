"""What the README shows of the library is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from depcli.records import Item, Review
from depcli.store import Store
from tests.store.made import IDENTITY, upsert


def test_the_example_of_the_library_writes_a_review(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    upsert(Store.create("profiles", IDENTITY), [Review("U", "B", "It grows on you.", 4.0)], [Item("A", "A film", "Slow.")])
    (example,) = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.split()) > 3


def test_nothing_is_left_to_be_filled_in():
    root = Path(__file__).parents[1]
    pages = [page for pattern in ("*.md", "depcli/**/*.md", "benchmarks/*.md", "profiles/*.md") for page in root.glob(pattern)]
    assert len(pages) > 8 and not [page for page in pages if "@@" in page.read_text(encoding="utf-8")]
