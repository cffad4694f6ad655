"""The whole road of an evaluation on a real store, a real (tiny, random) backbone and a real adapter."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from depcli import methods, resumable
from depcli.analysts.analyst import Analyst
from depcli.analysts.cache import ProfileCache
from depcli.backbones.sequence import encode
from depcli.errors import Incompatible, NotFound
from depcli.evaluation import predictions as files
from depcli.evaluation import report
from depcli.evaluation.likelihood import WeightsScorer
from depcli.evaluation.results import problems, read_results
from depcli.evaluation.run import evaluate, request_id
from depcli.evaluation.significance import standard_error
from depcli.evaluation.split import choose, leave_last_out
from depcli.methods.profiler import Profiler
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.records import EmbedderIdentity, Sampling
from depcli.writing import Writer
from tests.analysts.scripted import Scripted
from tests.evaluation.world import USERS, D, make_store, make_writers, reviews

SAMPLING = Sampling(max_new_tokens=10, seed=3)


class Hashed:
    """An embedder as wide as the store's vectors."""

    identity = EmbedderIdentity("random", "0", D)

    def encode(self, texts) -> np.ndarray:
        rows = [np.random.default_rng(sum(text.encode("utf-8", "surrogatepass"))).normal(size=D) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


@pytest.fixture(scope="module")
def evaluation(snapshot, engine):
    """evaluate(out, **changes) with everything but the folder given."""
    split = leave_last_out(snapshot)
    writers = make_writers(snapshot, engine, split)

    def run(out: Path, *, names=("nonperso", "rag", "dep"), limit=None, **changes):
        arguments = {
            "snapshot": snapshot, "split": split, "targets": choose(split, "test", limit), "sampling": SAMPLING, "out": out,
            "methods": {name: writers[name] for name in names},
            "scorer": WeightsScorer(lambda: engine.model, engine.tokenizer, 50),
            "settings": {"backbone": "tiny", "engine": engine.name}, "embedder": Hashed(), "strangers_from": split.test,
        }  # fmt: skip
        return evaluate(**arguments | changes)

    return run


@pytest.fixture(scope="module")
def finished(evaluation, tmp_path_factory):
    """(folder, results) of one whole run. Do not write into the folder."""
    out = tmp_path_factory.mktemp("eval") / "run"
    return out, evaluation(out)


def lines(out: Path, name: str = files.PREDICTIONS) -> list[dict]:
    return list(resumable.read_lines(out / name))


def steady(results: dict) -> dict:
    """Without what may differ between two equal runs: when, and how long."""
    kept = {key: value for key, value in results.items() if key not in ("created", "seconds")}
    kept["methods"] = {name: {k: v for k, v in found.items() if k != "generation"} for name, found in results["methods"].items()}
    return kept


def test_every_prediction_names_what_it_is_of(finished):
    out, _ = finished
    real = {(review.user_id, review.asin): review for review in reviews()}
    made = lines(out)
    assert len(made) == 3 * len(USERS) == len({(entry["method"], entry["id"]) for entry in made})
    for entry in made:
        assert entry["reference"] == real[entry["user_id"], entry["asin"]].text
        assert entry["generated_tokens"] <= 10 and entry["finish"] in ("stop", "length")
        assert len(entry["shown"]) == (0 if entry["method"] == "nonperso" else 2)
        assert entry["asin"] not in entry["shown"]
    seeds = {entry["id"]: set() for entry in made}
    for entry in made:
        seeds[entry["id"]].add(entry["request_seed"])
    assert all(len(found) == 1 for found in seeds.values()), "methods share the seed of a request"
    assert len(set().union(*seeds.values())) == len(USERS), "requests do not"


def test_results_are_what_the_files_say(finished, snapshot):
    out, results = finished
    stored = json.loads((out / files.RESULTS).read_text())
    assert stored == results
    assert problems(stored) == [] and read_results(out) == stored
    assert results["schema"] == 3 and results["requests"] == results["targets"] == results["users"] == len(USERS)
    assert results["seeds"] == [3]
    settings = results["settings"]
    assert settings["split_digest"] == leave_last_out(snapshot).digest and settings["store_commit"] == snapshot.commit.id
    assert settings["sampling"]["seed"] == 3 and settings["backbone"] == "tiny"
    scores = lines(out, files.SCORES)
    for name, found in results["methods"].items():
        made = [entry for entry in lines(out) if entry["method"] == name]
        weighed = [entry for entry in lines(out, files.NLL) if entry["method"] == name]
        mine = [entry for entry in scores if entry["method"] == name]
        assert found["mean_generated_tokens"] == fmean(entry["generated_tokens"] for entry in made)
        assert found["stopped_by_length"] == sum(entry["finish"] == "length" for entry in made)
        assert found["nll"]["per_token"] == pytest.approx(sum(e["nats"] for e in weighed) / sum(e["tokens"] for e in weighed))
        assert found["nll"]["per_request"] == pytest.approx(fmean(entry["nats"] / entry["tokens"] for entry in mine))
        assert found["metrics"]["rouge1"]["value"] == pytest.approx(fmean(entry["rouge1"] for entry in mine))
        assert all(found["metrics"][metric]["signature"] for metric in found["metrics"])
        assert found["metrics"]["rouge1"]["se_users"] == pytest.approx(standard_error([entry["rouge1"] for entry in mine]))
        assert found["metrics"]["rouge1"]["se_seeds"] is None and found["metrics"]["bleu"]["se_users"] is None
        aligned = [entry["cosine"] for entry in lines(out, files.ALIGNMENT) if entry["method"] == name]
        defined = [value for value in aligned if value is not None]
        assert len(aligned) == len(USERS) and defined == [e["alignment"] for e in mine if e["alignment"] is not None]
        assert found["metrics"]["alignment"]["value"] == pytest.approx(fmean(defined))
        assert found["metrics"]["alignment"]["undefined"] == len(aligned) - len(defined)
        assert found["generation"]["requests"] == len(USERS)


def test_the_swap_test_is_of_the_reviews_that_have_a_stranger(finished):
    out, results = finished
    own = {(entry["method"], entry["id"]): entry for entry in lines(out, files.NLL)}
    assert {name: list(found["swap"]) for name, found in results["methods"].items()} == {
        "nonperso": [], "rag": ["history"], "dep": ["history", "text", "vectors"],
    }  # fmt: skip
    for name in ("rag", "dep"):
        for variant, found in results["methods"][name]["swap"].items():
            swapped = [e for e in lines(out, files.SWAP) if (e["method"], e["variant"]) == (name, variant)]
            mine = [own[name, entry["id"]] for entry in swapped]
            assert 0 < len(swapped) == found["requests"] < len(USERS)
            tokens = sum(entry["tokens"] for entry in mine)
            assert tokens == sum(entry["tokens"] for entry in swapped)
            assert found["own"] == pytest.approx(sum(entry["nats"] for entry in mine) / tokens)
            assert found["stranger"] == pytest.approx(sum(entry["nats"] for entry in swapped) / tokens)
            assert found["difference"] == pytest.approx(found["own"] - found["stranger"])


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
    again = evaluation(folder, names=("nonperso", "rag"))
    assert again["methods"]["rag"]["metrics"] == results["methods"]["rag"]["metrics"]


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


def test_likelihoods_are_of_the_real_review_after_each_method_s_prompt(finished, evaluation, engine, snapshot):
    import torch

    out, _ = finished
    split = leave_last_out(snapshot)
    writer = make_writers(snapshot, engine, split)["nonperso"]
    from depcli.evaluation.split import pairs_of

    target = choose(split, "test")[0]
    request, text = next(pairs_of([target], snapshot))
    entry = encode(writer.soft(writer.builder.build(request)).parts, engine.tokenizer, text, 50)
    ids = torch.from_numpy(entry.ids).long()[None]
    with torch.no_grad():
        chances = torch.log_softmax(engine.model(input_ids=ids).logits[0].double(), -1)
    expected = -sum(chances[t - 1, ids[0, t]].item() for t in range(len(entry.ids) - entry.targets, len(entry.ids)))
    found = next(e for e in lines(out, files.NLL) if e["method"] == "nonperso" and e["id"] == request_id(target, 3))
    assert found["nats"] == pytest.approx(expected, rel=1e-5) and found["tokens"] == entry.targets


def test_the_difference_of_likelihoods_is_the_difference_of_the_table(finished):
    _, results = finished
    pairs = [(d["method"], d["against"]) for d in results["differences"] if d["metric"] == "nll"]
    assert {d["metric"] for d in results["differences"]} >= {"nll", "rouge1", "rougeL", "alignment"}
    assert pairs == [("rag", "nonperso"), ("dep", "nonperso"), ("dep", "rag")]
    for found in results["differences"]:
        assert found["low"] <= found["difference"] <= found["high"]
        assert found["requests"] == len(USERS) or found["metric"] == "alignment"
        if found["metric"] == "nll":
            a, b = (results["methods"][found[who]]["nll"]["per_token"] for who in ("method", "against"))
            assert found["difference"] == pytest.approx(a - b)


def test_a_second_run_writes_nothing_and_finds_the_same(finished, evaluation):
    out, results = finished
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
        ({"settings": {"backbone": "other", "engine": engine.name}}, "backbone"),
        ({"split": leave_last_out(snapshot, targets_per_user=2)}, "split_digest"),
        ({"scorer": WeightsScorer(lambda: engine.model, engine.tokenizer, 51)}, "max_answer_tokens"),
    ]:
        with pytest.raises(Incompatible, match=f"{word}: expected .*, found ") as caught:
            evaluation(out, **changes)
        assert "--out" in caught.value.hint
    assert (out / files.PREDICTIONS).read_bytes() == before


def test_progress_counts_up_to_the_total(evaluation, tmp_path):
    events = []
    evaluation(tmp_path / "p", names=("nonperso",), limit=3, on_progress=events.append)
    for phase in ("write", "likelihood", "align"):
        assert [e["done_requests"] for e in events if e["phase"] == phase] == [0, 1, 2, 3]
    assert {e["total_requests"] for e in events if e["phase"] in ("write", "likelihood", "align")} == {3}
    seeded = []
    evaluation(tmp_path / "p", names=("nonperso",), limit=3, seeds=3, on_progress=seeded.append)
    assert [e["done_requests"] for e in seeded if e["phase"] == "write"] == [3, 4, 5, 6, 7, 8, 9]


def test_all_that_a_model_is_asked_for_comes_before_the_scorer_is_loaded(evaluation, snapshot, engine, tmp_path):
    order, split, pag = [], leave_last_out(snapshot), methods.find("pag")
    place = Path(make_store(tmp_path / "profiles").path)

    def analyst(said: str) -> Analyst:
        return Analyst(Scripted(lambda *_: order.append(said) or said), said, temperature=0, top_p=1)

    profiler = Profiler(pag, snapshot, analyst("Writes dryly."), ProfileCache(place), held_out=split.held_out)
    builder = PromptBuilder(
        snapshot, pag, Template("compact"), engine.chat, engine.count, k=2, held_out=split.held_out, profiler=profiler
    )  # fmt: skip
    scorer = WeightsScorer(lambda: order.append("loaded") or engine.model, engine.tokenizer, 50)
    results = evaluation(
        tmp_path / "run", limit=1, methods={"pag": Writer(builder, engine)}, scorer=scorer, asked=analyst('{"score": 3}')
    )  # fmt: skip
    assert results["methods"]["pag"]["swap"]["history"] and results["methods"]["pag"]["profiles"]
    assert order == ["Writes dryly.", '{"score": 3}', "Writes dryly.", "loaded"]


def test_without_a_scorer_there_is_no_likelihood(evaluation, snapshot, tmp_path):
    results = evaluation(tmp_path / "p", names=("nonperso", "rag"), limit=2, scorer=None, strangers_from=())
    assert results["methods"]["rag"]["nll"] is None
    assert all(found["metric"] != "nll" for found in results["differences"])
    assert "NLL/token" not in report.table(results)[0] and results["methods"]["rag"]["swap"] == {}
    with pytest.raises(Incompatible, match="swap test"):
        evaluation(tmp_path / "q", names=("rag",), limit=2, scorer=None, strangers_from=leave_last_out(snapshot).test)


def test_a_folder_of_something_else_is_left_alone(evaluation, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Incompatible, match="something else than an evaluation"):
        evaluation(tmp_path, names=("nonperso",), limit=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").rename(tmp_path / ".settings.json.left")  # by a kill before anything was there
    assert evaluation(tmp_path, names=("nonperso",), limit=1)["requests"] == 1


def test_nothing_to_evaluate_is_said(evaluation, engine, tmp_path):
    snapshot = make_store(tmp_path / "profiles", [r for r in reviews() if r.user_id == "few"]).snapshot()
    split = leave_last_out(snapshot)
    assert split.test == () and split.too_short == 1
    with pytest.raises(NotFound, match="nothing to evaluate"):
        evaluation(tmp_path / "out", snapshot=snapshot, split=split, targets=[])
    assert not (tmp_path / "out").exists()


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
    found = lines(tmp_path, files.JUDGE)
    assert {(e["method"], e["id"]) for e in found} == {(e["method"], e["id"]) for e in lines(tmp_path)}
    missing = sum(entry["score"] is None for entry in found)
    assert missing and sum(m["metrics"]["judge"]["undefined"] for m in results["methods"].values()) == missing
    assert results["methods"]["rag"]["metrics"]["judge"]["value"] == 8 and problems(results) == []
    assert any("verdicts on rag could not be used" in note for note in results["notes"])
    again = evaluation(tmp_path, names=("nonperso", "rag"), asked=judge("two", lambda *_: '{"score": 2}'))
    assert again["methods"]["rag"]["metrics"]["judge"]["value"] == 2 and len(lines(tmp_path, files.JUDGE)) == 2 * len(found)
    assert "judge" not in evaluation(tmp_path, names=("nonperso", "rag"))["methods"]["rag"]["metrics"]


def test_an_edited_text_is_aligned_and_judged_anew(evaluation, tmp_path):
    def evaluated(out: Path) -> dict:
        said = Scripted(lambda prompt, _: '{"score": 9}' if "EDITED" in prompt else '{"score": 1}')
        judge = Analyst(said, "one", temperature=0, top_p=1)
        return evaluation(out, names=("rag",), limit=3, asked=judge, scorer=None, strangers_from=())

    def edit(text: str) -> None:
        resumable.write_lines(tmp_path / files.PREDICTIONS, [{**written[0], "prediction": text}, *written[1:]])

    before = evaluated(tmp_path)
    written, asked = lines(tmp_path), lines(tmp_path, files.ALIGNMENT)
    edit("EDITED by hand")
    after = evaluated(tmp_path)["methods"]["rag"]["metrics"]
    assert after["judge"]["value"] == pytest.approx((9 + 1 + 1) / 3)
    assert after["alignment"]["value"] != before["methods"]["rag"]["metrics"]["alignment"]["value"]
    for name in (files.ALIGNMENT, files.JUDGE):
        assert len(lines(tmp_path, name)) == 3 + 1, "the other texts keep theirs"
    edit(written[0]["prediction"])
    assert steady(evaluated(tmp_path)) == steady(before) and len(lines(tmp_path, files.JUDGE)) == 4, "back again: all is there"
    older = [{key: value for key, value in line.items() if key != "text"} for line in asked]
    resumable.write_lines(tmp_path / files.ALIGNMENT, older)
    assert steady(evaluated(tmp_path)) == steady(before) and lines(tmp_path, files.ALIGNMENT) == older
