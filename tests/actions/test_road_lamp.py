"""LaMP's headlines down the whole road on a tiny random backbone: store, training, evaluation, predictions as LaMP wants them."""

from __future__ import annotations

import json
import shutil

import pytest

from depcli import engines, readers
from depcli.actions.batch import settings_of, write_all
from depcli.actions.evaluating import Plan, evaluate_store
from depcli.actions.writing import find_request, make_writer
from depcli.adapters import files
from depcli.cli import main
from depcli.evaluation.studies import plain
from depcli.records import Sampling
from depcli.store import Store
from depcli.store.writing.ingest import ingest
from depcli.training.options import TrainOptions
from depcli.training.run import train
from tests.readers.made_lamp import headlines, write_lamp
from tests.store.made import IDENTITY, MadeEmbedder

TASK = "Generate a headline for the following article"
SHORT = Sampling(max_new_tokens=4)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("lamp")


@pytest.fixture(scope="module")
def store(place):
    store = Store.create(place / "profiles", IDENTITY)
    with readers.open_reviews(write_lamp(place, "dev", *headlines(6, 6, dated=True))) as reader:
        ingest(store, reader, MadeEmbedder(), source="dev_questions.json")
    return store


@pytest.fixture(scope="module")
def run(place, store, backbone):
    """The folder of an evaluation with a trained adapter."""
    folder = files.folder_of(store.path, "headlines")
    options = TrainOptions(epochs=1, batch_size=4, history=3, max_target_tokens=20, validation_limit=2)
    train(store=store, backbone=backbone, folder=folder, options=options)
    evaluate_store(
        store=store,
        backbone=backbone,
        variants=plain(["nonperso", "rag", "dep"], {"dep": folder}),
        out=place / "run",
        sampling=SHORT,
        engine_name="transformers",
        plan=Plan(seeds=2),
    )
    return place / "run"


def test_what_is_tested_is_what_lamp_asks_for(run, place):
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    golds = {gold["id"]: gold["output"] for gold in json.loads((place / "dev_outputs.json").read_text())["golds"]}
    assert {(line["asin"], line["reference"]) for line in lines} == {(f"{key}/target", text) for key, text in golds.items()}
    assert {len(line["shown"]) for line in lines if line["method"] == "dep"} == {3}


def test_a_prompt_asks_for_a_headline_and_has_no_difference_tokens(run, store, backbone):
    with engines.load("transformers", backbone) as engine:
        writer = make_writer(
            store=store,
            snapshot=store.snapshot(),
            method="dep",
            backbone=backbone,
            engine=engine,
            adapter_folder=files.folder_of(store.path, "headlines"),
        )
        prompt = writer.builder.build(find_request(store.snapshot(), "40", "40/target"))
    text = prompt.render()
    assert f"[Task] {TASK}" in text and "[Given] The last article: of town 0." in text and "eview" not in text
    assert text.count("[Text] NEWS") == 3 == text.count("«his»") and "«diff»" not in text
    assert {past.peers for past in prompt.shown} == {0}


def test_predictions_have_the_shape_of_the_outputs(run, place, capsys):
    wanted = json.loads((place / "dev_outputs.json").read_text())
    texts = {}
    for method in ("rag", "dep"):
        assert (
            main(["predictions", str(run), "--task", "LaMP_4", "--method", method, "--out", str(place / f"{method}.json")]) == 0
        )
        found = json.loads((place / f"{method}.json").read_text())
        assert (
            found.keys() == wanted.keys()
            and found["task"] == "LaMP_4"
            and all(gold.keys() == {"id", "output"} for gold in found["golds"])
        )
        assert {gold["id"] for gold in found["golds"]} == {gold["id"] for gold in wanted["golds"]} and len(found["golds"]) == 6
        texts[method] = found["golds"]
    capsys.readouterr()
    assert main(["predictions", str(run), "--task", "LaMP_4", "--method", "dep", "--seed", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["golds"] != texts["dep"]
    shutil.copytree(run, place / "profiles" / "evaluations" / "headlines")
    ask = ["predictions", "headlines", "--task", "LaMP_4", "--method", "rag", "--profiles", str(place / "profiles")]
    assert main(ask) == 0 and json.loads(capsys.readouterr().out)["golds"] == texts["rag"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{run}"], 2, "has several methods"),
        (["{run}", "--method", "dpl"], 3, "has no method 'dpl'"),
        (["{run}", "--method", "rag", "--seed", "9"], 3, "has no seed 9 hint: there: 0, 1"),
        (["{run}/none", "--method", "rag"], 3, "there is no"),
        (["{run}", "--method", "rag", "--out", "{run}/settings.json"], 1, "is there already"),
    ],
)
def test_predictions_that_are_not_there(run, capsys, arguments, code, words):
    assert main(["predictions", *(word.format(run=run) for word in arguments), "--task", "LaMP_4"]) == code
    assert words in " ".join(capsys.readouterr().err.split())


def test_what_is_no_run_or_half_a_run_is_told_what_to_do(run, place, tmp_path, capsys):
    def refused(path) -> str:
        capsys.readouterr()
        assert main(["predictions", str(path), "--task", "LaMP_4", "--method", "rag"]) == 5
        return capsys.readouterr().err

    assert "name the folder of a dep eval, or the file of a dep write --requests" in refused(place / "dev_questions.json")
    for name in ("predictions.jsonl", "settings.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with (tmp_path / "predictions.jsonl").open("ab") as file:
        file.write(b'{"id": "00')
    told = refused(tmp_path)
    assert "run its `dep eval` again" in told and "--out" not in told


def test_questions_without_outputs_are_requests(place, store, backbone, capsys):
    questions = headlines(3, 4)[0]
    path = write_lamp(place, "test", questions, None)
    fresh = Store.create(place / "fresh", IDENTITY)
    with readers.open_reviews(path) as reader:
        ingest(fresh, reader, MadeEmbedder(), source=path.name)
    out = place / "written.jsonl"
    with engines.load("transformers", backbone) as engine:
        writer = make_writer(store=fresh, snapshot=fresh.snapshot(), method="rag", backbone=backbone, engine=engine)
        settings = settings_of(writer, fresh.snapshot(), backbone, SHORT)
        report = write_all(readers.read_requests(path), out, writer, fresh.snapshot(), SHORT, settings)
    assert (report.requests, report.failed) == (3, 0)
    assert main(["predictions", str(out), "--task", "LaMP_4"]) == 0
    assert [gold["id"] for gold in json.loads(capsys.readouterr().out)["golds"]] == ["40", "41", "42"]
