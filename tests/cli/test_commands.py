"""The commands end to end on a small store: real embedder, tiny random backbone, both engines."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil

import pytest

from depcli.cli import main
from depcli.embedders import minilm
from depcli.store import Store

pytestmark = pytest.mark.skipif(not minilm.installed(), reason="the minilm extra is not installed")
USER, NASTY = 'a" OR 1=1 ../x [b]', "Loved [b]it[/b] [/] \x1b[2J and {{ it }} <|im_end|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, compact_backbone):
    """Input files, a backbone that asks as small ones do, and room for a store."""
    folder = tmp_path_factory.mktemp("cli")
    shutil.copytree(compact_backbone, folder / "tiny")
    with open(folder / "reviews.jsonl", "w") as file:
        for user in (USER, "bea", "cy"):
            for n in range(5):
                text = NASTY + "!" * n if user == USER else f"{user} thinks that number {n} is good."
                review = {"user_id": user, "asin": f"i{n}", "text": text, "rating": 1 + n, "timestamp": 1000 + n}
                file.write(json.dumps(review) + "\n")
        file.write('not json [b]\n{"user_id": "dee", "asin": "i1"}\n')
    (folder / "items.jsonl").write_text("".join(f'{{"asin": "i{n}", "title": "Thing [red]{n}"}}\n' for n in range(4)))
    return folder


@pytest.fixture(scope="module")
def profiles(folder):
    """The filled store with an adapter."""
    place = str(folder / "profiles")
    files = [str(folder / "reviews.jsonl"), "--items", str(folder / "items.jsonl")]
    assert main(["ingest", *files, "--embedder", "minilm", "--profiles", place, "--quiet"]) == 0
    options = ["--epochs", "1", "--history", "2", "--adapter", "one", "--device", "cpu", "--quiet"]
    assert main(["train", "--backbone", str(folder / "tiny"), *options, "--profiles", place]) == 0
    return place


def run(capsys, *arguments: str):
    """(stdout, stderr) of a command that succeeds."""
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr()


def test_ingest_again_changes_nothing_and_says_what_is_bad(profiles, folder, capsys):
    out, err = run(capsys, "ingest", str(folder / "reviews.jsonl"), "--profiles", profiles, "--json")
    document = json.loads(out)
    (report,) = document["files"]
    assert (report["reviews"], report["unchanged"], report["embedded"], report["bad_lines"]) == (15, 15, 0, 2)
    assert [line["line_number"] for line in report["first_bad"]] == [16, 17]
    assert document["store"] == {"reviews": 15, "users": 3, "items": 5}
    assert "line 16: not JSON" in err and "not json [b]" in err and "the store was made with it" in err


def test_ingest_strict_stops_at_the_first_bad_line(profiles, folder, capsys):
    assert main(["ingest", str(folder / "reviews.jsonl"), "--profiles", profiles, "--strict"]) == 5
    assert "line 16" in capsys.readouterr().err


def test_ingest_that_shall_not_wait_names_the_holder(profiles, folder, capsys):
    with Store.open(profiles).writer():
        assert main(["ingest", str(folder / "reviews.jsonl"), "--profiles", profiles, "--no-wait"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and f"another process (pid {os.getpid()}) is writing" in err and "--no-wait" in err


def test_status_shows_store_and_adapters(profiles, capsys):
    document = json.loads(run(capsys, "status", "--profiles", profiles, "--json").out)
    assert document["store"]["reviews"] == 15 and document["store"]["embedder"]["name"] == "minilm"
    assert document["store"]["bytes"] > 1000 and document["unfinished_adapters"] == []
    (adapter,) = document["adapters"]
    assert adapter["name"] == "one" and set(adapter["validation_losses"]) == {"dep", "rag", "nonperso"}
    out = run(capsys, "status", "--profiles", profiles).out
    assert "15 reviews by 3 users, 5 items" in out and "\none   tiny" in out.replace("name  backbone", "") and "\x1b" not in out


def test_the_same_seed_writes_the_same_review_as_text_and_as_json(profiles, folder, capsys):
    ask = ["write", "--user", USER, "--item", "i1", "--rating", "4", "--max-new-tokens", "12", "--profiles", profiles]
    ask += ["--backbone", str(folder / "tiny")]
    document = json.loads(run(capsys, *ask, "--json", "--show-prompt").out)
    human = run(capsys, *ask, "--show-prompt")
    assert human.out == document["text"] + "\n"
    terminal = io.StringIO()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        assert main([*ask, "--show-prompt"]) == 0
    assert f"\n{document['text']}\n{document['prompt'].splitlines()[0]}\n" in terminal.getvalue()
    assert document["prompt"].count("«diff»") == len(document["reviews_used"]) == 2
    assert [used["peers"] for used in document["reviews_used"]] == [2, 2]
    assert (document["engine"], document["adapter"], document["backbone"], document["seed"]) == ("llamacpp", "one", "tiny", 0)
    assert document["generated_tokens"] <= 12 and document["user_id"] == USER
    assert "[b]it[/b] [/]" in human.err and "\x1b" not in human.err and "adapter one: the only one" in human.err
    other = json.loads(run(capsys, *ask, "--json", "--seed", "1").out)
    assert other["text"] != document["text"]


@pytest.mark.parametrize("engine", ["llamacpp", "transformers"])
def test_write_without_an_adapter_about_an_item_nobody_knows(profiles, folder, capsys, engine):
    ask = ["write", "--user", "bea", "--item", "new", "--item-title", "A [b]Kettle[/b]", "--method", "rag", "--engine", engine]
    ask += ["--backbone", str(folder / "tiny"), "--profiles", profiles, "--max-new-tokens", "4"]
    ask += ["--json", "--show-prompt", "--offline"]
    document = json.loads(run(capsys, *ask).out)
    assert document["adapter"] is None and "A [b]Kettle[/b]" in document["prompt"] and "«" not in document["prompt"]
    assert document["method"] == "rag" and len(document["reviews_used"]) == 5


def test_a_backbone_folder_is_found_again_by_the_adapter(profiles, folder, capsys):
    ask = ["write", "--user", "bea", "--item", "i1", "--max-new-tokens", "4", "--profiles", profiles]
    alone = run(capsys, *ask)
    assert f"backbone tiny: in {folder / 'tiny'}, with the weights that the adapter was trained for" in alone.err
    assert run(capsys, *ask, "--backbone", str(folder / "tiny")).out == alone.out


def test_write_as_of_a_moment_reads_nothing_later(profiles, folder, capsys):
    ask = ["write", "--user", "bea", "--item", "i3", "--profiles", profiles, "--backbone", str(folder / "tiny")]
    ask += ["--max-new-tokens", "4"]
    now = json.loads(run(capsys, *ask, "--json").out)
    assert (now["as_of"], now["min_peers"]) == (None, 1)
    assert [used["timestamp"] for used in now["reviews_used"]] == [1002, 1004]
    for moment in ("1001.5", "1970-01-01T00:16:41.5", "1970-01-01 01:16:41.5+01:00"):
        then = run(capsys, *ask, "--json", "--as-of", moment, "--min-peers", "1")
        document = json.loads(then.out)
        assert (document["as_of"], document["adapter_as_of"]) == (1001.5, None)
        assert [used["timestamp"] for used in document["reviews_used"]] == [1000, 1001]
        assert "as of 1970-01-01 00:16:41 UTC" in then.err and "the adapter has learned from later reviews too" in then.err
    assert main([*ask, "--as-of", "999"]) == 3
    assert "no user 'bea' in the store as of 1970-01-01 00:16:39 UTC" in capsys.readouterr().err
    assert main([*ask, "--item", "i4", "--as-of", "1003"]) == 3
    assert "no item 'i4' in the store as of" in capsys.readouterr().err
    assert main([*ask, "--min-peers", "2"]) == 1
    assert "dep train --min-peers 2" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "date"), [("1969", "1969-01-01"), ("1969-03", "1969-03-01"), ("19690311", "1969-03-11")])
def test_a_year_month_or_day_is_its_beginning(profiles, capsys, said, date):
    assert main(["show", "--user", "bea", "--profiles", profiles, "--as-of", said]) == 3
    assert f"as of {date} 00:00:00 UTC" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["write --user bea --item i1", "train", "eval"])
@pytest.mark.parametrize("moment", ["", " ", "soon", "2009-13-01", "nan", "inf", "-1e11", "1e40", "12:30", "1_000"])
def test_what_is_no_time_is_a_usage_error(profiles, capsys, command, moment):
    assert main([*command.split(), "--profiles", profiles, "--as-of", moment]) == 2
    assert "is no time" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["write --user bea --item i1", "train", "eval"])
def test_fewer_than_one_peer_is_a_usage_error(profiles, capsys, command):
    assert main([*command.split(), "--profiles", profiles, "--min-peers", "0"]) == 2
    assert "--min-peers" in capsys.readouterr().err


def test_eval_as_of_a_moment(profiles, folder, capsys):
    ask = ["eval", "--backbone", str(folder / "tiny"), "--max-new-tokens", "4", "--profiles", profiles, "--limit", "1"]
    ask += ["--as-of", "1003", "--out", str(folder / "then")]
    assert main([*ask, "--methods", "rag,dep"]) == 1
    assert "adapter 'one' was trained on all reviews of its store" in capsys.readouterr().err
    results = json.loads(run(capsys, *ask, "--methods", "rag", "--json").out)
    assert results["settings"]["as_of"] == 1003
    (line,) = map(json.loads, (folder / "then/predictions.jsonl").read_text().splitlines())
    assert line["asin"] == "i3" and line["shown"] == ["i0", "i1", "i2"]


def test_write_says_what_is_not_there(profiles, folder, capsys):
    tiny = ["--backbone", str(folder / "tiny")]
    for options, code, said in (
        (["--user", "nobody", "--item", "i1"], 3, "it knows 3 users"),
        (["--user", "bea", "--item", "none"], 3, "--item-title"),
        (["--user", "bea", "--item", "i1", "--adapter", "two"], 3, "one"),
        (["--user", "bea", "--item", "i1", "--backbone", "no-such"], 3, "no backbone 'no-such'"),
        (["--user", "bea", "--item", "i1", "--max-new-tokens", "5000", *tiny], 5, "--max-new-tokens"),
    ):
        assert main(["write", *options, "--profiles", profiles]) == code
        captured = capsys.readouterr()
        assert captured.out == "" and said in captured.err


def test_train_does_not_write_over_an_adapter(profiles, folder, capsys):
    assert main(["train", "--backbone", str(folder / "tiny"), "--adapter", "one", "--profiles", profiles]) == 1
    assert "--replace" in capsys.readouterr().err


def test_eval_compares_methods_and_goes_on_where_it_stopped(profiles, folder, capsys):
    ask = ["eval", "--backbone", str(folder / "tiny"), "--max-new-tokens", "6", "--profiles", profiles]
    ask += ["--out", str(folder / "out")]
    first = json.loads(run(capsys, *ask, "--limit", "2", "--json").out)
    assert first["requests"] == 2 and set(first["methods"]) == {"nonperso", "rag", "dep"}
    before = (folder / "out/predictions.jsonl").read_text()
    human = run(capsys, *ask, "--limit", "3").out
    after = (folder / "out/predictions.jsonl").read_text()
    assert after.startswith(before) and len(after.splitlines()) == 9
    assert human.startswith("method") and "NLL/token" in human and "\x1b" not in human
    assert main([*ask, "--temperature", "0"]) == 1
    assert "temperature" in capsys.readouterr().err


def test_eval_with_seeds_and_a_swap_test_then_compare(profiles, folder, capsys):
    tiny = ["--backbone", str(folder / "tiny"), "--max-new-tokens", "6", "--profiles", profiles, "--methods", "rag,dep"]
    once = json.loads(run(capsys, "eval", *tiny, "--out", str(folder / "once"), "--json").out)
    page = folder / "page.html"
    captured = run(capsys, "eval", *tiny, "--out", str(folder / "twice"), "--seeds", "2", "--swap", "--report", str(page))
    assert page.read_text(encoding="utf-8").count('<article class="request">') == 3 and f"the page is {page}" in captured.err
    assert main(["eval", *tiny, "--report", str(folder / "nowhere" / "page.html")]) == 1
    capsys.readouterr()
    assert "standard error" in captured.out and "few users (3)" in captured.out
    assert f"results go to {folder / 'twice'}" in captured.err
    assert once["seeds"] == [0] and all(found["swap"] == {} for found in once["methods"].values())
    compared = run(capsys, "compare", str(folder / "once"), str(folder / "twice"))
    assert "dep (twice) - dep (once)" in compared.out and "averaged over the seed 0" in compared.out
    assert main(["compare", str(folder / "once")]) == 2
    assert main(["compare", str(folder / "once"), "nowhere"]) == 3
    assert "nowhere has no finished evaluation" in capsys.readouterr().err


def test_an_evaluation_that_cannot_begin_names_no_folder_for_its_results(profiles, folder, capsys):
    assert main(["eval", "--min-peers", "7", "--backbone", str(folder / "tiny"), "--profiles", profiles]) == 1
    assert "results go to" not in capsys.readouterr().err


def test_methods_without_an_adapter_do_not_take_the_folder_of_one(profiles, folder, tmp_path, capsys):
    place = shutil.copytree(profiles, tmp_path / "copy")
    shutil.move(place / "adapters" / "one", place / "adapters" / "tiny")  # an adapter is called after its backbone by default
    ask = ["eval", "--backbone", str(folder / "tiny"), "--max-new-tokens", "4", "--limit", "1", "--profiles", str(place)]
    assert f"results go to {place}/evaluations/tiny-text-test\n" in run(capsys, *ask, "--methods", "nonperso,rag").err
    assert f"results go to {place}/evaluations/tiny-test\n" in run(capsys, *ask).err


def test_compacting_names_the_adapters_that_cannot_be_tested_any_more(profiles, folder, tmp_path, capsys):
    place = str(shutil.copytree(profiles, tmp_path / "copy"))
    newcomer = folder / "late.jsonl"
    newcomer.write_text('{"user_id": "zoe", "asin": "i1", "text": "after the training"}\n')
    run(capsys, "ingest", str(newcomer), "--profiles", place)
    assert "trained again" not in run(capsys, "compact", "--profiles", place).out
    assert "dep eval needs these adapters trained again: one\n" in run(capsys, "compact", "--keep", "0", "--profiles", place).out
    assert json.loads(run(capsys, "compact", "--keep", "0", "--profiles", place, "--json").out)["untestable_adapters"] == []


def test_forgetting_names_the_adapter_that_saw_the_user(profiles, folder, tmp_path, capsys):
    place = str(shutil.copytree(profiles, tmp_path / "copy"))
    newcomer = folder / "newcomer.jsonl"
    newcomer.write_text('{"user_id": "zoe", "asin": "i1", "text": "after the training"}\n')
    run(capsys, "ingest", str(newcomer), "--profiles", place)
    for user, adapters in (("zoe", []), (USER, ["one"]), ("bea", ["one"])):
        out = run(capsys, "forget", "--user", user, "--yes", "--profiles", place, "--json").out
        beyond = json.loads(out)["beyond_reach"]
        assert (beyond["adapters"], beyond["adapters_unknown"]) == (adapters, [])
        assert str(newcomer) in beyond["inputs"]
    assert json.loads(run(capsys, "status", "--profiles", place, "--json").out)["store"]["users"] == 1
