"""An evaluation that was cut, that is to do more, or that is another one: what is in its folder is kept, and never mixed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from depcli.analysts.analyst import Analyst
from depcli.errors import Incompatible, Refused
from depcli.evaluation import predictions as files
from depcli.evaluation.measures.judge import OTHERS
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.evaluation.results import lost_with, problems
from depcli.records import Sampling
from depcli.splits.split import leave_last_out
from depcli.system import resumable
from tests.analysts.scripted import Scripted
from tests.evaluation.whole_run import lines, steady
from tests.evaluation.world import USERS


def test_more_seeds_only_add(finished, evaluation, tmp_path):
    out, results = finished
    folder = tmp_path / "seeds"
    evaluation(folder, names=("nonperso", "rag"))
    before = (folder / files.PREDICTIONS).read_bytes()
    alone = {name: (folder / name).read_bytes() for name in (files.NLL, files.SWAP)}
    grown = evaluation(folder, names=("nonperso", "rag"), seeds=3)
    assert (folder / files.PREDICTIONS).read_bytes().startswith(before)
    assert {name: (folder / name).read_bytes() for name in alone} == alone, "likelihoods do not depend on the sampling seed"
    assert (grown["seeds"], grown["targets"], grown["requests"]) == ([3, 4, 5], len(USERS), 3 * len(USERS))
    assert problems(grown) == []
    by_seed = {seed: [e for e in lines(folder, files.SCORES) if e["seed"] == seed] for seed in (3, 4, 5)}
    keys = [{(e["user_id"], e["asin"], e["method"]) for e in found} for found in by_seed.values()]
    assert keys[0] == keys[1] == keys[2], "the same targets for every seed"
    texts = {seed: [e["prediction"] for e in lines(folder) if e["id"] in {s["id"] for s in by_seed[seed]}] for seed in by_seed}
    assert texts[3] != texts[4] != texts[5]
    for name in ("nonperso", "rag"):
        found = grown["methods"][name]["metrics"]["rouge1"]
        each = {seed: {e["user_id"]: e["rouge1"] for e in mine if e["method"] == name} for seed, mine in by_seed.items()}
        assert found["per_seed"] == pytest.approx([fmean(values.values()) for values in each.values()])
        assert found["value"] == pytest.approx(fmean(found["per_seed"]))
        assert found["se_seeds"] == pytest.approx(np.std(found["per_seed"], ddof=1) / 3**0.5)
        of_users = [fmean(values[user] for values in each.values()) for user in each[3]]
        assert found["se_users"] == pytest.approx(np.std(of_users, ddof=1) / len(USERS) ** 0.5)
        assert grown["methods"][name]["metrics"]["bleu"]["se_seeds"] is not None
        assert grown["methods"][name]["nll"] == results["methods"][name]["nll"]
    (tested,) = (d for d in grown["differences"] if d["metric"] == "rouge1")
    assert tested["requests"] == tested["groups"] == len(USERS), "a user's seeds are averaged, not counted"
    assert lost_with(grown, folder) is None
    events = []
    again = evaluation(folder, names=("rag",), on_progress=events.append)
    assert again["methods"]["rag"]["metrics"] == results["methods"]["rag"]["metrics"]
    (said,) = (event["note"] for event in events if "note" in event)
    assert said.startswith(f"results.json told of nonperso and {3 * len(USERS)} texts of each method;")


def test_seeds_of_a_request_follow_one_another_and_older_orders_go_on(evaluation, tmp_path):
    whole, older = tmp_path / "whole", tmp_path / "older"
    results = evaluation(whole, names=("rag", "dep"), seeds=2, limit=3)
    made = lines(whole)
    assert [e["method"] for e in made] == ["rag"] * 6 + ["dep"] * 6
    assert [e["user_id"] for e in made[::2]] == [e["user_id"] for e in made[1::2]]
    older.mkdir()
    (older / files.SETTINGS).write_bytes((whole / files.SETTINGS).read_bytes())
    by_seed = [*made[:6:2], *made[6::2], *made[1:4:2]]  # all methods for one seed, then the next one, cut off
    resumable.write_lines(older / files.PREDICTIONS, by_seed)
    again = evaluation(older, names=("rag", "dep"), seeds=2, limit=3)
    assert lines(older) == [*by_seed, made[5], *made[7::2]]
    assert lines(older, files.SCORES) == lines(whole, files.SCORES)
    assert [again["methods"][name]["generation"]["requests"] for name in ("rag", "dep")] == [1, 3]
    assert [again["methods"][name]["metrics"] for name in ("rag", "dep")] == [
        results["methods"][name]["metrics"] for name in ("rag", "dep")
    ]


def test_seeds_cut_anywhere_go_on_to_the_same_files(evaluation, tmp_path):
    whole = tmp_path / "whole"
    results = evaluation(whole, names=("rag", "dep"), seeds=2, limit=3)
    every = (files.PREDICTIONS, files.NLL, files.SWAP, files.ALIGNMENT)
    written = {name: (whole / name).read_bytes() for name in every}
    for number, last in enumerate(every):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / files.SETTINGS).write_bytes((whole / files.SETTINGS).read_bytes())
        for name in every[: number + 1]:
            (folder / name).write_bytes(written[name] if name != last else written[name][: len(written[name]) * 2 // 3])
        again = evaluation(folder, names=("rag", "dep"), seeds=2, limit=3)
        assert (folder / files.PREDICTIONS).read_bytes() == written[files.PREDICTIONS]
        for name in every[1:]:
            shapes = (
                [{k: v for k, v in e.items() if k not in ("nats", "cosine")} for e in lines(f, name)] for f in (folder, whole)
            )
            assert next(shapes) == next(shapes), name
        assert again["methods"]["dep"]["metrics"]["rouge1"] == results["methods"]["dep"]["metrics"]["rouge1"]
        for variant, swapped in results["methods"]["dep"]["swap"].items():
            assert again["methods"]["dep"]["swap"][variant]["difference"] == pytest.approx(swapped["difference"], abs=1e-6)


def test_a_second_run_writes_nothing_and_finds_the_same(finished, evaluation, tmp_path):
    whole, results = finished
    out = shutil.copytree(whole, tmp_path / "again")
    before = {
        name: (out / name).read_bytes() for name in (files.PREDICTIONS, files.NLL, files.SWAP, files.ALIGNMENT, files.SCORES)
    }
    again = evaluation(out)
    assert {name: (out / name).read_bytes() for name in before} == before
    assert steady(again) == steady(results)
    assert all(found["generation"]["requests"] == 0 for found in again["methods"].values())


def test_a_run_cut_anywhere_goes_on_to_the_same_files(finished, evaluation, tmp_path):
    out, results = finished
    whole = (out / files.PREDICTIONS).read_bytes()
    weighed = (out / files.NLL).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 0x0A]
    cuts = [1, ends[0] - 1, ends[4], ends[6] + 40, ends[-1]]
    for number, cut in enumerate(cuts):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / files.SETTINGS).write_bytes((out / files.SETTINGS).read_bytes())
        (folder / files.PREDICTIONS).write_bytes(whole[:cut])
        if cut == ends[-1]:
            (folder / files.NLL).write_bytes(weighed[: len(weighed) // 2])
        again = evaluation(folder)
        assert (folder / files.PREDICTIONS).read_bytes() == whole, cut
        assert [{**e, "nats": pytest.approx(e["nats"])} for e in lines(out, files.NLL)] == lines(folder, files.NLL)
        assert again["methods"]["dep"]["metrics"] == results["methods"]["dep"]["metrics"]


def test_more_targets_and_methods_continue_a_smaller_run(finished, evaluation, tmp_path):
    out, results = finished
    small = evaluation(tmp_path / "grown", names=("rag",), limit=2)
    assert small["requests"] == 2 and list(small["methods"]) == ["rag"] and small["differences"] == []
    grown = evaluation(tmp_path / "grown")
    by_key = {(e["method"], e["id"]): e for e in lines(out)}
    assert {(e["method"], e["id"]): e for e in lines(tmp_path / "grown")} == by_key, "a text depends on its request alone"
    for name in results["methods"]:
        assert grown["methods"][name]["metrics"] == results["methods"][name]["metrics"]
    again = evaluation(tmp_path / "grown", names=("rag",), limit=2)
    assert steady(again) == steady(small)


def test_other_settings_never_mix(finished, evaluation, snapshot, engine):
    out, _ = finished
    before = (out / files.PREDICTIONS).read_bytes()
    for changes, word in [
        ({"sampling": Sampling(max_new_tokens=10, seed=4)}, "sampling.seed"),
        ({"settings": {"backbone": {"name": "other"}, "adapters": {}, "engine": engine.name}}, "backbone.name"),
        ({"split": leave_last_out(snapshot, targets_per_user=2)}, "split_digest"),
        ({"scorer": WeightsScorer(lambda: engine.model, engine.tokenizer, 51)}, "max_answer_tokens"),
    ]:
        with pytest.raises(Incompatible, match=f"{word}: expected .*, found ") as caught:
            evaluation(out, **changes)
        assert "--out" in caught.value.hint
    assert (out / files.PREDICTIONS).read_bytes() == before


def test_a_folder_of_something_else_is_left_alone(evaluation, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Incompatible, match="something else than an evaluation"):
        evaluation(tmp_path, names=("nonperso",), limit=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").rename(tmp_path / ".settings.json.left")  # by a kill before anything was there
    assert evaluation(tmp_path, names=("nonperso",), limit=1)["requests"] == 1


def test_a_judge_goes_on_where_it_stopped_and_another_one_starts_anew(evaluation, tmp_path):
    def judge(name: str, answer) -> Analyst:
        return Analyst(Scripted(answer), name, temperature=0, top_p=1)

    def broken(prompt, sampling):
        if len(asked.engine.asked) > 3:
            raise KeyboardInterrupt
        return '{"score": 8}'

    asked = judge("one", broken)
    with pytest.raises(KeyboardInterrupt):
        evaluation(tmp_path, names=("nonperso", "rag"), asked=asked)
    verdicts = (tmp_path / files.JUDGE).read_bytes()
    assert len(verdicts.splitlines()) == 3
    asked = judge("one", lambda prompt, _: '{"score": 8}' if "Loud" in prompt else "hm")
    results = evaluation(tmp_path, names=("nonperso", "rag"), asked=asked)
    assert (tmp_path / files.JUDGE).read_bytes().startswith(verdicts)
    found = on_methods(tmp_path)
    assert {(e["method"], e["id"]) for e in found} == {(e["method"], e["id"]) for e in lines(tmp_path)}
    missing = sum(entry["score"] is None for entry in found)
    assert missing and sum(m["metrics"]["judge"]["undefined"] for m in results["methods"].values()) == missing
    assert results["methods"]["rag"]["metrics"]["judge"]["value"] == 8 and problems(results) == []
    assert any("verdicts on rag could not be used" in note for note in results["notes"])
    again = evaluation(tmp_path, names=("nonperso", "rag"), asked=judge("two", lambda *_: '{"score": 2}'))
    assert again["methods"]["rag"]["metrics"]["judge"]["value"] == 2 and len(on_methods(tmp_path)) == 2 * len(found)
    assert "judge" not in evaluation(tmp_path, names=("nonperso", "rag"))["methods"]["rag"]["metrics"]


def test_a_judge_also_says_what_others_reviews_are_worth(evaluation, snapshot, tmp_path):
    """One by somebody else for each held-out review whose item has one; nothing of who wrote it is kept."""
    told = {}

    def answer(prompt, sampling):
        told[prompt] = len(told) % 11
        return json.dumps({"reason": "", "score": told[prompt]})

    def evaluated(**changes) -> dict:
        asked = Analyst(Scripted(answer), "one", temperature=0, top_p=1)
        return evaluation(tmp_path, names=("nonperso",), asked=asked, scorer=None, strangers_from=(), **changes)

    results = evaluated()
    others = [line for line in lines(tmp_path, files.JUDGE) if line["method"] == OTHERS]
    held_out = {line["id"]: line for line in lines(tmp_path)}
    everybody = snapshot.reviewers([line["asin"] for line in held_out.values()])
    shared = [line for line in held_out.values() if len(everybody[line["asin"]]) > 1]
    assert {line["id"] for line in others} == {line["id"] for line in shared} and len(shared) > 1
    scores = {line["id"]: line["score"] for line in others}
    beside = results["real"]["judge_others"]
    assert beside["value"] == pytest.approx(fmean(scores.values())) and beside["targets"] == len(others)
    own = {line["id"]: line["score"] for line in on_methods(tmp_path) if line["id"] in scores}
    assert beside["more"]["nonperso"]["difference"] == pytest.approx(fmean(own[key] - scores[key] for key in scores))
    assert {line["text"] for line in others} == {files.digest(line["reference"]) for line in shared}
    for line in shared:
        theirs = [one.review.text for one in everybody[line["asin"]] if one.review.user_id != line["user_id"]]
        beside = [prompt.partition(quoted(line["reference"]))[2] for prompt in told]  # what is to be judged stands below
        assert sum(any(quoted(text) in rest for text in theirs) for rest in beside) == 1
    asked, kept = len(told), (tmp_path / files.JUDGE).read_bytes()
    assert evaluated(limit=2)["real"]["judge_others"]["targets"] <= 2
    assert steady(evaluated()) == steady(results) and (len(told), (tmp_path / files.JUDGE).read_bytes()) == (asked, kept)


def quoted(text: str) -> str:
    return "\n".join(f"> {line.strip()}" for line in text.splitlines() if line.strip())


def on_methods(out: Path) -> list[dict]:
    """The verdicts, but for those on what others wrote."""
    return [line for line in lines(out, files.JUDGE) if line["method"] != OTHERS]


def test_what_an_endpoint_refuses_after_it_has_judged_others_is_a_missing_verdict(evaluation, tmp_path):
    def judging(*refused: int) -> Analyst:
        def answer(prompt, sampling):
            if len(judge.engine.asked) in refused:
                raise Refused("the endpoint refused the request (400): why")
            return '{"score": 8}'

        judge = Analyst(Scripted(answer), "one", temperature=0, top_p=1)
        return judge

    with pytest.raises(Refused):
        evaluation(tmp_path, names=("rag",), asked=judging(*range(99)))
    assert not lines(tmp_path, files.JUDGE), "from the first it may be any setting"
    evaluation(tmp_path, names=("rag",), asked=judging())
    found = on_methods(tmp_path)
    resumable.write_lines(tmp_path / files.JUDGE, found[:-1])
    results = evaluation(tmp_path, names=("rag",), asked=judging(*range(99)))
    assert [line["score"] for line in on_methods(tmp_path)] == [8] * (len(found) - 1) + [None]
    assert results["methods"]["rag"]["metrics"]["judge"]["undefined"] == 1


def test_an_edited_text_is_aligned_and_judged_anew(evaluation, tmp_path):
    def evaluated(out: Path) -> dict:
        said = Scripted(lambda prompt, _: '{"score": 9}' if "EDITED" in prompt else '{"score": 1}')
        judge = Analyst(said, "one", temperature=0, top_p=1)
        return evaluation(out, names=("rag",), limit=3, asked=judge, scorer=None, strangers_from=())

    def edit(text: str) -> None:
        resumable.write_lines(tmp_path / files.PREDICTIONS, [{**written[0], "prediction": text}, *written[1:]])

    before = evaluated(tmp_path)
    written = lines(tmp_path)
    edit("EDITED by hand")
    after = evaluated(tmp_path)["methods"]["rag"]["metrics"]
    assert after["judge"]["value"] == pytest.approx((9 + 1 + 1) / 3)
    assert after["alignment"]["value"] != before["methods"]["rag"]["metrics"]["alignment"]["value"]
    for found in (lines(tmp_path, files.ALIGNMENT), on_methods(tmp_path)):
        assert len(found) == 3 + 1, "the other texts keep theirs"
    edit(written[0]["prediction"])
    assert steady(evaluated(tmp_path)) == steady(before) and len(on_methods(tmp_path)) == 4, "back again: all is there"
