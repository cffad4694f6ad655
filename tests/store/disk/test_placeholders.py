from __future__ import annotations

import json
import subprocess
import sys

import pytest

from depcli.store.disk.placeholders import without

SCRIPT = """
import json, sys
import depcli.store
from lancedb.db import LanceDBConnection, TableNotFoundError
import lancedb
absent = [name for name in sys.modules if name.startswith(("lance_namespace", "overrides"))]
import lance_namespace
db = lancedb.connect(sys.argv[1])
try:
    db.open_table("none")
    said = None
except Exception as error:
    said = type(error).__name__
real = lance_namespace.ListTablesResponse(tables=["a"]).tables
print(json.dumps({"absent": absent, "said": said, "real": real, "finders": [type(each).__name__ for each in sys.meta_path]}))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`heavy`, that counts how often it is loaded, and `user`, that takes from it."""
    (tmp_path / "heavy" / "models").mkdir(parents=True)
    (tmp_path / "heavy" / "__init__.py").write_text("import builtins; builtins.loaded = getattr(builtins, 'loaded', 0) + 1\n")
    (tmp_path / "heavy" / "models" / "__init__.py").write_text("class Thing:\n    size = 3\n")
    (tmp_path / "user.py").write_text("from heavy.models import Thing\nfrom heavy.other.deep import Else\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("heavy", "user")]:
        del sys.modules[name]


def test_what_is_left_out_is_loaded_when_somebody_else_wants_it(package):
    import builtins

    with without("heavy", "user"):
        import user
    assert user.Thing is not user.Else and not hasattr(builtins, "loaded")
    from heavy.models import Thing

    assert Thing.size == 3 and user.Thing is not Thing
    del builtins.loaded


def test_names_can_be_given(package):
    with without("heavy", "user", Thing=object):
        import user
    assert user.Thing is object and user.Else is not object


def test_what_is_loaded_already_is_used(package):
    import builtins

    import heavy.models

    with without("heavy"):
        from heavy.models import Thing
    assert Thing.size == 3 and sys.modules["heavy.models"] is heavy.models
    del builtins.loaded


def test_the_store_does_without_and_others_have_the_real_client(tmp_path):
    ran = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found["absent"] == [] and found["real"] == ["a"]
    assert found["said"] == "ValueError" and "_Placeholders" not in found["finders"]
