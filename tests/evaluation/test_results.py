from __future__ import annotations

import json

import pytest

from depcli.errors import BadInput, Incompatible, NotFound
from depcli.evaluation.predictions import RESULTS, SETTINGS
from depcli.evaluation.results import problems, read_results
from tests.evaluation.report.test_tables import made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("users"), "results.users is missing"),
        (lambda r: r.update(more=1), "results.more is not known"),
        (lambda r: r["methods"]["dep"].update(empty=None), "results.methods.dep.empty is NoneType"),
        (lambda r: r["methods"]["dep"].update(empty=True), "results.methods.dep.empty is bool"),
        (lambda r: r["differences"][1].pop("p_holm"), "results.differences[1].p_holm is missing"),
        (lambda r: r["seeds"].append("1"), "results.seeds[2] is str"),
        (lambda r: r.update(methods=[]), "results.methods is no object"),
        (lambda r: r.update(notes={}), "results.notes is no list"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(change, said):
    results = made(rag=0.0, dep=0.5)
    change(results)
    assert problems(results) == [said]


def test_finished_results_are_read_again(tmp_path):
    results = made(rag=0.0, dep=0.5)
    (tmp_path / RESULTS).write_text(json.dumps(results))
    assert read_results(tmp_path) == results


def test_folders_without_usable_results_are_refused(tmp_path):
    with pytest.raises(NotFound, match="no finished evaluation") as caught:
        read_results(tmp_path)
    assert "dep eval" in caught.value.hint
    (tmp_path / SETTINGS).write_text("{}")
    with pytest.raises(NotFound) as caught:
        read_results(tmp_path)
    assert "again" in caught.value.hint
    (tmp_path / RESULTS).write_text('{"schema": 1}')
    with pytest.raises(Incompatible, match="schema 1; this version reads 5"):
        read_results(tmp_path)
    (tmp_path / RESULTS).write_text('{"schema": 5}')
    with pytest.raises(BadInput, match="is missing"):
        read_results(tmp_path)
