"""A file of requests on a real store and a real (tiny, random) backbone by both engines, killed and cut anywhere."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depcli import backbones, engines
from depcli.actions.batch import settings_of, write_all
from depcli.actions.writing import find_request, make_writer
from depcli.errors import DepError, Incompatible, NotFound
from depcli.readers import count_requests, read_requests
from depcli.records import Review, Sampling
from depcli.store import Store
from depcli.store.upkeep import erase
from depcli.words import nearest
from tests.personal.conftest import few_people, made_store
from tests.store.made import upsert

SAMPLING = Sampling(temperature=0.9, max_new_tokens=8, seed=5)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("batch") / "store", *few_people(4))


@pytest.fixture(scope="module", params=["llamacpp", "transformers"])
def engine(request, compact_backbone):
    with engines.load(request.param, backbones.find(str(compact_backbone))) as loaded:
        yield loaded


def writer_on(store, backbone, engine, **changes):
    options = {"method": "rag", "history": 2, "max_input_tokens": 1200} | changes
    return make_writer(store=store, snapshot=store.snapshot(), backbone=backbone, engine=engine, **options)


def run(store, folder: Path, engine, requests: Path, out: Path, *, sampling=SAMPLING, lines=None, on_progress=lambda event: None):
    writer, backbone = writer_on(store, backbones.find(str(folder)), engine), backbones.find(str(folder))
    snapshot = store.snapshot()
    settings = settings_of(writer, snapshot, backbone, sampling)
    return write_all(
        lines or read_requests(requests),
        out,
        writer,
        snapshot,
        sampling,
        settings,
        total=count_requests(requests),
        on_progress=on_progress,
    )


@pytest.fixture(scope="module")
def requests(store, tmp_path_factory) -> Path:
    """Twenty lines; 3, 9 and 14 are no requests, or nobody's, or about nothing known, and 6 is blank."""
    snapshot = store.snapshot()
    users, items = snapshot.user_ids(), [item.asin for item in snapshot.all_items()]
    lines = [json.dumps({"user_id": users[n % 4], "asin": items[n], "rating": 1 + n % 5, "id": f"r{n}"}) for n in range(20)]
    lines[0] = json.dumps({"user_id": users[0], "asin": "new", "item_title": "A Kettle", "title": "Hot", "text": "not read"})
    lines[2] = '{"user_id": "torn'
    lines[5] = "  "
    lines[8] = json.dumps({"user_id": "nobody \u2028", "asin": items[8], "id": 8})
    lines[13] = json.dumps({"user_id": users[1], "asin": "unheard of"})
    path = tmp_path_factory.mktemp("requests") / "wanted.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def whole(store, compact_backbone, engine, requests, tmp_path_factory):
    """(output file, report) of an undisturbed run. Do not write to it."""
    out = tmp_path_factory.mktemp("out") / "reviews.jsonl"
    return out, run(store, compact_backbone, engine, requests, out)


def entries(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_request_has_its_line_in_order_and_its_own_review(store, compact_backbone, engine, requests, whole):
    out, report = whole
    found, counts, users = entries(out), store.snapshot().counts(), store.snapshot().user_ids()
    alike = nearest("nobody \u2028", users)
    assert [entry["line"] for entry in found] == [n for n in range(1, 21) if n != 6]
    assert {entry["line"]: entry.get("error") for entry in found if "error" in entry} == {
        3: "not JSON: Invalid control character at at character 18",
        9: f"no user 'nobody \\u2028' in the store: it knows {counts['users']} users, such as {alike!r}; ids are case-sensitive",
        14: f"no item 'unheard of' in the store: it knows {counts['items']} items; describe this one with item_title and "
        "item_description",
    }
    assert (report.requests, report.written, report.failed, report.kept) == (19, 16, 3, 0)
    assert [error["line"] for error in report.first_errors] == [3, 9, 14]
    assert "id" not in found[0] and (found[1]["id"], found[7]["id"]) == ("r1", 8)
    writer, snapshot = writer_on(store, backbones.find(str(compact_backbone)), engine), store.snapshot()
    for entry in (found[0], found[1], found[-1]):
        asked = json.loads(requests.read_text().split("\n")[entry["line"] - 1])
        wanted = ("rating", "title", "item_title")
        request = find_request(snapshot, asked["user_id"], asked["asin"], **{key: asked.get(key) for key in wanted})
        (alone,) = writer.write([request], SAMPLING)
        assert (entry["text"], entry["request_seed"], entry["finish"]) == (
            alone.completion.text,
            alone.seed,
            alone.completion.finish,
        )
        assert (entry["user_id"], entry["asin"]) == (asked["user_id"], asked["asin"])
        assert entry["prompt_tokens"] == alone.completion.prompt_tokens


def test_a_file_cut_anywhere_is_made_whole_again(store, compact_backbone, engine, requests, whole, tmp_path):
    out, expected = tmp_path / "reviews.jsonl", whole[0].read_bytes()
    shutil.copy(f"{whole[0]}.settings.json", f"{out}.settings.json")
    ends = [i + 1 for i, byte in enumerate(expected) if byte == ord("\n")]
    for size in (0, 7, ends[0], ends[4] + 30, ends[7], ends[11] - 1, ends[-1]):  # within, and at the end of, a window of 8
        out.write_bytes(expected[:size])
        report = run(store, compact_backbone, engine, requests, out)
        assert out.read_bytes() == expected, size
        assert (report.requests, report.failed, report.kept) == (19, 3, sum(end <= size for end in ends))


def test_a_killed_process_goes_on_to_the_same_file(store, compact_backbone, requests, tmp_path):
    code = (
        "import sys; from pathlib import Path; from depcli import backbones, engines; from depcli.store import Store\n"
        "from tests.actions.test_batch import run\n"
        "store, folder, requests, out = map(Path, sys.argv[1:])\n"
        "with engines.load('llamacpp', backbones.find(str(folder))) as engine:\n"
        "    run(Store.open(store), folder, engine, requests, out, on_progress=lambda event: print(event, flush=True))\n"
    )
    out = tmp_path / "reviews.jsonl"
    arguments = [str(store.path), str(compact_backbone), str(requests), str(out)]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as child:
        acknowledged = [child.stdout.readline() for _ in range(11)]
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL and all(acknowledged)
    there = out.read_bytes()
    with engines.load("llamacpp", backbones.find(str(compact_backbone))) as engine:
        report = run(store, compact_backbone, engine, requests, out)
        undisturbed = tmp_path / "other.jsonl"
        run(store, compact_backbone, engine, requests, undisturbed)
    assert 11 <= report.kept < 19 and out.read_bytes() == undisturbed.read_bytes()
    assert out.read_bytes().startswith(there[: there.rfind(b"\n") + 1])


def test_requests_are_read_a_window_ahead_at_most(store, compact_backbone, engine, requests, tmp_path):
    taken = 0

    def endless():
        nonlocal taken
        (line, *_) = read_requests(requests)
        while True:
            taken += 1
            yield line

    class Enough(Exception):
        pass

    def watch(event):
        assert taken - event["done_requests"] < (256 if engine.together == 1 else engine.together)
        if event["done_requests"] == 300:
            raise Enough

    with pytest.raises(Enough):
        run(
            store,
            compact_backbone,
            engine,
            requests,
            tmp_path / "out.jsonl",
            lines=endless(),
            on_progress=watch,
            sampling=Sampling(temperature=0, max_new_tokens=1),
        )


def test_other_settings_and_other_requests_are_refused(store, compact_backbone, engine, requests, whole, tmp_path):
    out, changed = tmp_path / "reviews.jsonl", tmp_path / "changed.jsonl"
    for suffix in ("", ".settings.json"):
        shutil.copy(f"{whole[0]}{suffix}", f"{out}{suffix}")
    before = out.read_bytes()
    with pytest.raises(Incompatible, match="sampling.seed: expected .*, found "):
        run(store, compact_backbone, engine, requests, out, sampling=Sampling(temperature=0.9, max_new_tokens=8, seed=6))
    text = requests.read_text()
    changed.write_text(text.replace('"rating": 3', '"rating": 2', 1))
    with pytest.raises(Incompatible, match="another request than line 8"):
        run(store, compact_backbone, engine, changed, out)
    changed.write_text(text.rpartition("\n")[0])
    with pytest.raises(Incompatible, match="more lines than"):
        run(store, compact_backbone, engine, changed, out)
    assert out.read_bytes() == before
    changed.write_text(f"{text}\n{text.splitlines()[1]}\n")
    report = run(store, compact_backbone, engine, changed, out)
    assert (report.kept, report.requests) == (19, 20) and out.read_bytes().startswith(before)
    again = entries(out)[-1]
    assert again == entries(out)[1] | {"line": 21}


def test_a_prompt_that_does_not_fit_fails_alone(store, compact_backbone, engine, tmp_path):
    requests, out = tmp_path / "wanted.jsonl", tmp_path / "out.jsonl"
    user = store.snapshot().user_ids()[0]
    lines = [{"user_id": user, "asin": f"new{n}", "item_title": "word " * (400 if n == 2 else 1)} for n in range(5)]
    requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
    writer = writer_on(store, backbones.find(str(compact_backbone)), engine, template="full", max_input_tokens=1500)
    report = write_all(read_requests(requests), out, writer, store.snapshot(), SAMPLING, {})
    found = entries(out)
    assert ["error" in entry for entry in found] == [False, False, True, False, False] and report.failed == 1
    assert "without any history" in found[2]["error"]


def test_what_stops_all_requests_is_no_error_of_one(store, compact_backbone, requests, tmp_path):
    shutil.copytree(store.path, tmp_path / "store")
    copy, out = Store.open(tmp_path / "store"), tmp_path / "out.jsonl"
    with engines.load("llamacpp", backbones.find(str(compact_backbone))) as engine:
        writer, snapshot = writer_on(copy, backbones.find(str(compact_backbone)), engine), copy.snapshot()
        with Store.open(tmp_path / "store").writer() as tables:
            erase.forget(tables.tables, [snapshot.user_ids()[3]], [])
        with pytest.raises(NotFound, match="forgotten since commit 1"):
            write_all(read_requests(requests), out, writer, snapshot, SAMPLING, {})
    assert not out.exists()


def test_nothing_is_written_after_somebody_was_forgotten(store, compact_backbone, engine, requests, tmp_path):
    """Others of a company that an engine computes together have their texts already: these are made of what has to be gone."""
    shutil.copytree(store.path, tmp_path / "store")
    copy, out = Store.open(tmp_path / "store"), tmp_path / "out.jsonl"

    def meanwhile(event):
        with copy.writer() as tables:
            erase.forget(tables.tables, [copy.snapshot().user_ids()[3]], [])

    with pytest.raises(NotFound, match="forgotten since commit 1"):
        run(copy, compact_backbone, engine, requests, out, on_progress=meanwhile)
    assert len(entries(out)) == 1
    with pytest.raises(Incompatible, match="store_commit: expected") as caught:
        run(copy, compact_backbone, engine, requests, out)
    assert "as it was is gone" in caught.value.hint and "--out" in caught.value.hint and "--at" not in caught.value.hint


def test_a_store_that_grows_meanwhile_stops_nothing_and_what_is_interrupted_goes_on_at_its_commit(
    store, compact_backbone, engine, requests, whole, tmp_path
):
    shutil.copytree(store.path, tmp_path / "store")
    copy, out = Store.open(tmp_path / "store"), tmp_path / "out.jsonl"
    then, events = copy.log()[-1].id, []

    def meanwhile(event):
        events.append(event)
        if len(events) == 1:
            upsert(copy, [Review("new", "i0", "A new one.")])
        elif len(events) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(copy, compact_backbone, engine, requests, out, on_progress=meanwhile)
    assert out.read_bytes() == b"".join(whole[0].read_bytes().splitlines(keepends=True)[:5])
    with pytest.raises(Incompatible, match="store_commit: expected") as caught:
        run(copy, compact_backbone, engine, requests, out)
    assert caught.value.hint.startswith(f"--at {then} goes on")


def test_one_run_at_a_time(store, compact_backbone, engine, requests, tmp_path):
    out = tmp_path / "out.jsonl"

    def meanwhile(event):
        with pytest.raises(DepError, match="another process"):
            run(store, compact_backbone, engine, requests, out)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, compact_backbone, engine, requests, out, on_progress=meanwhile)
    assert len(entries(out)) == 1
