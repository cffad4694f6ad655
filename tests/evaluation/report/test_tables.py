from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from depcli.evaluation.measures import ALIGNMENT, JUDGE
from depcli.evaluation.measures.metrics import METRICS
from depcli.evaluation.report import page_plots, tables
from depcli.evaluation.report.notes import notes_of
from depcli.evaluation.report.titles import TITLES
from depcli.evaluation.results import problems
from depcli.evaluation.statistics.comparing import compare, description
from depcli.evaluation.statistics.values import Values


def made(users: int = 40, seeds: int = 2, **shifts: float) -> dict:
    """Results as an evaluation makes them, of methods that are so much better than 0."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=users)
    values = {name: hard + shift + 0.05 * rng.normal(size=users) for name, shift in shifts.items()}
    each = {name: {"nll": Values(-x, np.full(users, 10.0)), "meteor": Values(x)} for name, x in values.items()}
    tests = compare(each, [f"u{i}" for i in range(users)], list(combinations(shifts, 2)))
    interval = {**{key: tests[0][key] for key in ("confidence", "resamples", "seed")}, "requests": users - 3, "groups": users - 3}
    swap = {"own": 4.0, "stranger": 4.01, "difference": -0.01, "low": -0.02, "high": -0.005, "clear": True, **interval}
    metric = {
        "per_seed": [0.1] * seeds,
        "se_users": 0.01,
        "se_seeds": 0.002 if seeds > 1 else None,
        "undefined": 0,
        "signature": "s",
    }
    methods = {
        name: {
            "metrics": {
                "meteor": {"value": float(x.mean()), **metric},
                "alignment": {"value": 0.2, **metric, "undefined": 4},
                "bleu": {"value": 1.234, **metric, "se_users": None},
            },
            "nll": {"per_token": float(-x.mean()), "se_users": 0.02, "cut": 0},
            "empty": 0,
            "stopped_by_length": 0,
            "unfinished_thoughts": 0,
            "swap": dict.fromkeys({"nonperso": (), "dep": ("history", "text", "vectors")}.get(name, ("history",)), swap),
            "mean_words": 9.0,
            "mean_prompt_tokens": 1.0,
            "mean_generated_tokens": 1.0,
            "mean_shown_reviews": 2.0,
            "profiles": None,
            "generation": {"requests": 0, "seconds": 0.0},
        }
        for name, x in values.items()
    }
    return {
        "schema": 5,
        "dep": "0.1.0",
        "created": "2026-11-21T23:05:00+00:00",
        "study": None,
        "groups": None,
        "training": {},
        "seconds": {"loading": 1.0, "writing": 80.0, "metrics": 9.0, "tests": 10.0},
        "settings": {"backbone": {"name": "tiny"}, "adapters": {}},
        "seeds": list(range(seeds)),
        "targets": users,
        "requests": users * seeds,
        "users": users,
        "methods": methods,
        "differences": tests,
        "real": {"mean_words": 9.0, "distinct1": 0.5, "distinct2": 0.9, "alignment_chance": 0.1, "judge_others": None},
        "tests": description(tests),
        "notes": ["a note"],
    }


def test_these_results_are_what_the_schema_says():
    assert problems(made(nonperso=0.0, rag=0.3, dep=0.6)) == []


def test_the_table_stars_what_is_better_than_all_others():
    columns, rows = tables.table(made(nonperso=0.0, rag=0.3, dep=0.6))
    assert columns == ["method", "METEOR", "BLEU", "alignment", "NLL/token", "empty"]
    at = {name: columns.index(name) for name in columns}
    assert [row[at["METEOR"]][-1] for row in rows] == [" ", " ", "*"]
    assert [row[at["NLL/token"]][-1] for row in rows] == [" ", " ", "*"], "lower is better"
    assert rows[0][at["BLEU"]] == "1.23"
    tied = tables.table(made(nonperso=0.0, rag=0.6, dep=0.6))[1]
    assert not any("*" in cell for row in tied for cell in row), "better than one of two is no star"


def test_differences_name_the_better_one_and_both_p_values():
    results = made(rag=0.0, dep=0.5, twin=0.5)
    columns, rows = tables.differences(results)
    assert columns == ["difference", "metric", "mean", "95 % interval", "p", "p (Holm)", "better"]
    assert [row[:2] + row[-1:] for row in rows] == [
        ["dep - rag", "NLL/token", "dep"],
        ["twin - rag", "NLL/token", "twin"],
        ["twin - dep", "NLL/token", "not clear"],
        ["dep - rag", "METEOR", "dep"],
        ["twin - rag", "METEOR", "twin"],
        ["twin - dep", "METEOR", "not clear"],
    ]
    assert rows[0][4:6] == ["<.0001", ".0003"], (1 / 20_001, 6 / 20_001)


def test_of_many_methods_the_pairs_of_dep_are_shown_and_all_corrected_for():
    results = made(nonperso=0.0, rag=0.1, dep=0.5, pag=0.2)
    rows = tables.differences(results)[1]
    assert len(rows) == 6 and all("dep" in row[0] for row in rows)
    notes = "\n".join(notes_of(results))
    assert "corrected for 12 comparisons" in notes and "results.json has 6 more comparisons" in notes


def test_standard_errors_say_what_they_are_over():
    columns, rows = tables.standard_errors(made(rag=0.0, dep=0.5))
    assert [row[:2] for row in rows] == [["rag", "users"], ["rag", "seeds"], ["dep", "users"], ["dep", "seeds"]]
    at = {name: columns.index(name) for name in columns}
    assert rows[0][at["METEOR"]] == "0.0100" and rows[1][at["METEOR"]] == "0.0020"
    assert rows[0][at["BLEU"]] == "-" and rows[1][at["NLL/token"]] == "-", "likelihoods do not depend on the seed"
    assert [row[1] for row in tables.standard_errors(made(seeds=1, rag=0.0, dep=0.5))[1]] == ["users", "users"]


def test_the_swap_test_is_split_where_there_are_two_parts():
    results = made(nonperso=0.0, rag=0.3, dep=0.6)
    columns, rows = tables.swaps(results)
    assert [row[:2] for row in rows] == [
        ["rag", "history"],
        ["dep", "text and soft tokens"],
        ["dep", "text"],
        ["dep", "soft tokens"],
    ]
    assert rows[0][2:] == ["4.0000", "4.0100", "-0.0100", "[-0.0200, -0.0050]"]
    notes = "\n".join(notes_of(results))
    assert "3 reviews left out" in notes and "without nonperso, whose prompts hold nothing of the user" in notes


def test_a_judge_is_told_of_beside_what_others_wrote():
    results = made(rag=0.0, dep=0.5)
    interval = {**results["differences"][0], "difference": -1.25, "low": -2.0, "high": -0.5}
    results["real"]["judge_others"] = {"value": 5.125, "targets": results["targets"], "more": {"rag": interval}}
    assert problems(results) == []
    (note,) = (note for note in notes_of(results) if note.startswith("judge"))
    assert "same items has 5.12 on average; beside that rag -1.25 [-2.00, -0.50]" in note
    results["real"]["judge_others"]["targets"] -= 1
    (note,) = (note for note in notes_of(results) if note.startswith("judge"))
    of = f"{results['targets'] - 1:,} of the {results['targets']:,}"
    assert f"same items ({of} have a verdict) has" in note
    verdicts = {"value": 3.0, "per_seed": [3.0], "se_seeds": None, "se_users": 0.5, "undefined": 0, "signature": "s"}
    results["methods"]["rag"]["metrics"][JUDGE] = verdicts
    said = {title: (about, svg) for title, about, svg in page_plots.methods(results)}
    assert "dashed" not in said["judge"][0], "it is of other reviews than the points"
    results["real"]["judge_others"]["targets"] += 1
    said = {title: (about, svg) for title, about, svg in page_plots.methods(results)}
    assert said["judge"][0].endswith("dashed: what others really wrote") and 'class="mark"' in said["judge"][1]


def test_thoughts_without_an_end_are_told_of():
    results = made(rag=0.0, dep=0.5)
    assert not any("thought" in note for note in notes_of(results))
    results["methods"]["dep"]["unfinished_thoughts"] = 7
    assert any(note.startswith("texts that were all thought") and "dep 7;" in note for note in notes_of(results))


def test_a_swap_test_without_strangers_says_so():
    results = made(nonperso=0.0, rag=0.3)
    results["methods"]["rag"]["swap"] = {"history": None}
    assert problems(results) == [] and tables.swaps(results)[1] == []
    assert any("no user has a stranger" in line for line in notes_of(results))


@pytest.mark.parametrize(("users", "said"), [(10, True), (29, True), (30, False)])
def test_few_users_are_said_to_be_few(users, said):
    assert any("intervals are rough" in line for line in notes_of(made(users, rag=0.0, dep=0.5))) is said


@pytest.mark.parametrize(
    ("reviews", "said"),
    [
        (1, "one review: no interval"),
        (5, "nothing can be significant"),
        (12, "12 reviews, of this user alone; so few that intervals are rough"),
        (30, "30 reviews, of this user alone"),
    ],
)
def test_tests_of_one_user_say_whom_they_are_about(reviews, said):
    results = made(rag=0.0, dep=0.5) | {"users": 1, "targets": reviews}
    notes = " ".join(notes_of(results))
    assert said in notes and "bootstrap over reviews" in notes and "other users" not in notes
    assert {row[1] for row in tables.standard_errors(results)[1]} == {"reviews", "seeds"}


def test_notes_say_what_was_done():
    notes = notes_of(made(rag=0.0, dep=0.5))
    assert notes[0].startswith("40 held-out reviews of 40 users, each written 2 times (seeds 0 to 1)")
    for said in (
        "permutation test, at most 20,000 sign flips",
        "Holm-corrected for 2 comparisons",
        "length and distinct-n are not tested",
        "too few other reviewers, 4 reviews",
    ):
        assert any(said in line for line in notes), said
    assert notes[-2:] == ["a note", "100 s: writing 80%, tests 10%, metrics 9%, loading 1%"]


def test_costs_are_of_a_review_and_of_the_profile_behind_it():
    results = made(rag=0.0, drp=0.1)
    results["methods"]["rag"]["generation"] = {"requests": 8, "seconds": 2.0}
    results["methods"]["drp"]["profiles"] = {
        "mean_calls": 9.0,
        "mean_prompt_tokens": 4321.2,
        "mean_generated_tokens": 800.0,
        "empty": 0,
        "dropped": 1,
        "commanding": 0,
        "failures": {"broken JSON": 2},
    }
    rag, drp = tables.costs(results)[1]
    assert rag == ["rag", "1", "1", "0.25", "-", "-", "-"] and drp == ["drp", "1", "1", "-", "9", "4,321", "800"]
    said = [line for line in notes_of(results) if line.startswith(("rag:", "drp:"))]
    assert said == ["drp: broken JSON: 2 answers; 1 question without an answer"]
    columns, rows = tables.costs(made(rag=0.0, dep=0.1))
    assert columns == ["cost", "tokens read", "written", "seconds"] and [len(row) for row in rows] == [4, 4], "nobody was asked"


def test_one_of_a_thing_is_no_plural():
    results = made(2, nonperso=0.0, rag=0.3)
    results |= {"targets": 1, "users": 1}
    results["methods"]["rag"]["nll"]["cut"] = 1
    results["methods"]["nonperso"]["metrics"]["alignment"]["undefined"] = 1
    results["tests"]["corrected_for"] = 1
    said = "\n".join(notes_of(results))
    assert "1 held-out review of 1 user, each" in said and "beginning of 1 long review\n" in said
    assert "for 1 comparison\n" in said and "reviewers, 1 review\n" in said


def test_beside_a_difference_of_some_of_the_pairs_stands_of_how_many():
    results = made(rag=0.0, dep=0.5)
    results["differences"][1]["requests"] = 3
    assert [row[1] for row in tables.differences(results)[1]] == ["NLL/token", "METEOR (3 of 40)"]


def test_a_study_marks_what_is_better_and_worse_than_its_reference():
    results = made(few=0.0, usual=0.3, many=0.6)
    results["differences"] = [one for one in results["differences"] if "usual" in (one["method"], one["against"])]
    for one in results["differences"]:
        if one["against"] != "usual":  # the reference is what others are measured against
            one["method"], one["against"] = one["against"], one["method"]
    results["study"] = {
        "name": "k",
        "about": "how many",
        "reference": "usual",
        "missing": {"dep, K=1": "dep train --history 1"},
        "variants": {name: {"method": "rag", "adapter": None, "history": k} for k, name in enumerate(results["methods"])},
    }
    columns, rows = tables.table(results)
    marks = {row[0]: row[columns.index("METEOR")][-1] for row in rows}
    assert (marks["few"], marks["many"]) == ("-", "+") and marks["usual"] == " "
    notes = notes_of(results)
    assert any("study k: how many" in note for note in notes) and any("than usual" in note for note in notes)
    assert any("dep, K=1; it needs an adapter: dep train --history 1" in note for note in notes)
    assert not any("*: better than every other" in note for note in notes)


def test_what_was_spent_where_is_told_when_something_was_written():
    results = made(nonperso=0.0, rag=0.3)
    assert "100 s: writing 80%, tests 10%, metrics 9%, loading 1%" in notes_of(results)
    results["seconds"]["writing"] = 0.01
    assert not any(note.startswith("20 s") for note in notes_of(results))


def test_groups_of_users_have_a_table_of_their_own():
    results = made(nonperso=0.0, rag=0.3)
    part = {"targets": 20, "users": 20, "differences": []}
    values = {name: {"nll": {"value": 4.0 + i, "se_users": 0.1}} for i, name in enumerate(results["methods"])}
    gain = {"metric": "nll", "method": "rag", "against": "nonperso", "difference": -0.01, "p": 0.01, "p_holm": 0.04}
    results["groups"] = {
        "parts": [{"name": "unique", "methods": values, **part}, {"name": "others", "methods": values, **part}],
        "between": [{**gain, "significant": True}],
    }
    assert problems(results) == []
    found = {columns[0]: (columns, rows) for columns, rows in tables.tables(results)}
    assert any(columns[1] == "users" and len(rows) == 4 for columns, rows in found.values())
    assert found["gain"][0][2] == "unique minus others" and found["gain"][1][0][:3] == ["rag - nonperso", "NLL/token", "-0.0100"]


def test_every_metric_has_a_title_and_so_a_place_in_the_table():
    assert {*METRICS, ALIGNMENT, JUDGE, "nll"} == set(TITLES)
