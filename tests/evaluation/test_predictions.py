from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depcli.errors import BadInput, DepError, Incompatible
from depcli.evaluation.predictions import PREDICTIONS, SETTINGS, claimed
from depcli.system.resumable import JsonLines, append_lines, read_json, read_lines

ENTRIES = [{"id": i, "text": text} for i, text in enumerate(["plain", "two\nlines \u2028 ", "", "🎬\ud800\x00", "x" * 300])]


def append_missing(path: Path) -> None:
    log = JsonLines(path)
    there = {entry["id"] for entry in log.entries}
    for _ in log.append(entry for entry in ENTRIES if entry["id"] not in there):
        pass


def test_a_file_cut_at_any_byte_is_made_whole_again(tmp_path):
    path = tmp_path / "p.jsonl"
    append_missing(path)
    whole = path.read_bytes()
    assert list(read_lines(path)) == ENTRIES
    assert whole.count(b"\n") == len(ENTRIES)
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        append_missing(path)
        assert path.read_bytes() == whole, size


def test_a_torn_line_longer_than_the_step_back_is_cut(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"id": 1}\n' + b'{"id": "' + b"y" * 200_000)
    assert JsonLines(path).entries == [{"id": 1}]
    assert path.read_bytes() == b'{"id": 1}\n'


def test_each_line_is_on_the_disk_before_it_is_passed_on(tmp_path):
    path = tmp_path / "p.jsonl"
    for number, entry in enumerate(JsonLines(path).append(ENTRIES), 1):
        assert len(list(read_lines(path))) == number and entry is ENTRIES[number - 1]


def test_a_killed_process_loses_nothing_it_had_acknowledged(tmp_path):
    code = (
        "import sys; from pathlib import Path; from depcli.system.resumable import JsonLines\n"
        "for entry in JsonLines(Path(sys.argv[1])).append({'id': i, 'text': 'word ' * 500} for i in range(10**9)):\n"
        "    sys.stdout.write(f'{entry[\"id\"]}\\n'); sys.stdout.flush()\n"
    )
    path = tmp_path / "p.jsonl"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as child:
        acknowledged = [int(child.stdout.readline()) for _ in range(25)][-1]
        child.send_signal(signal.SIGKILL)
    kept = JsonLines(path).entries
    assert len(kept) > acknowledged and [entry["id"] for entry in kept] == list(range(len(kept)))


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"id": 1}\nnonsense\n{"id": 2}\n')
    with pytest.raises(BadInput, match="line 2"):
        JsonLines(path)


def begun(out: Path, settings: dict) -> dict:
    """The settings of an evaluation in `out` that has written something."""
    with claimed(out, settings):
        list(append_lines(out / PREDICTIONS, [{"id": 0}]))
    return json.loads((out / SETTINGS).read_text())


def test_settings_go_where_nothing_came_of_them_and_stay_with_the_first_line(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, {"commit": "old"}):
        raise KeyboardInterrupt
    assert not (tmp_path / SETTINGS).exists()
    assert begun(tmp_path, {"commit": "new"}) == {"commit": "new"}
    with pytest.raises(Incompatible, match='commit: expected "new", found "newer"'), claimed(tmp_path, {"commit": "newer"}):
        pass
    (tmp_path / PREDICTIONS).unlink()  # by hand, and what was made from it may still be there
    with claimed(tmp_path, {"commit": "new"}):
        pass
    assert (tmp_path / SETTINGS).exists()


def test_other_settings_are_refused_and_named(tmp_path):
    settings = {"seed": 0, "adapter": {"name": "default"}, "shape": (1, 2)}
    begun(tmp_path, settings)
    with claimed(tmp_path, settings):  # the same again goes on
        pass
    with pytest.raises(Incompatible, match=r"seed: expected 0, found 1") as caught, claimed(tmp_path, {**settings, "seed": 1}):
        pass
    assert "--out" in caught.value.hint and "delete" not in caught.value.hint and "adapter" not in caught.value.message
    with (
        pytest.raises(Incompatible, match="by another version of dep; extra: expected none, found true"),
        claimed(tmp_path, {**settings, "extra": True}),
    ):
        pass
    assert json.loads((tmp_path / SETTINGS).read_text())["seed"] == 0


def test_settings_of_one_method_are_its_own(tmp_path):
    def begin(**choices):
        return begun(tmp_path, {"seed": 0, "choices": choices})["choices"]

    assert begin(rag=1, dep=2) == {"rag": 1, "dep": 2}
    assert begin(pag=3, rag=1) == {"rag": 1, "dep": 2, "pag": 3}
    with pytest.raises(Incompatible, match=r"settings; choices\.dep: expected 2, found 9$"):
        begin(dep=9)
    assert begin(dep=2) == {"rag": 1, "dep": 2, "pag": 3}


def test_of_large_settings_only_what_differs_is_named(tmp_path):
    choices = {"dep": {**{f"part {i}": "as it was trained with" for i in range(9)}, "retrieval": "bm25", "gone": 1}}
    begun(tmp_path, {"choices": choices, "sampling": {"seed": 0}})
    other = {"dep": {key: value for key, value in choices["dep"].items() if key != "gone"} | {"retrieval": "dense"}}
    said = r'settings; choices\.dep\.gone: expected 1, found none; choices\.dep\.retrieval: expected "bm25", found "dense"$'
    with pytest.raises(Incompatible, match=said), claimed(tmp_path, {"choices": other, "sampling": {"seed": 0}}):
        pass


def test_predictions_without_settings_are_not_mixed_with(tmp_path):
    (tmp_path / PREDICTIONS).write_text("{}\n")
    with pytest.raises(Incompatible, match="not the settings"), claimed(tmp_path, {}):
        pass


def test_one_run_at_a_time_and_free_again_after(tmp_path):
    with claimed(tmp_path, {}), pytest.raises(DepError, match="another process"), claimed(tmp_path, {}):
        pass
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, {}):
        raise KeyboardInterrupt
    with claimed(tmp_path, {}):
        pass


def test_damaged_settings_are_named(tmp_path):
    (tmp_path / SETTINGS).write_text('{"seed"')
    with pytest.raises(BadInput, match=SETTINGS), claimed(tmp_path, {}):
        pass


def test_settings_that_are_gone_are_named(tmp_path):
    with pytest.raises(BadInput, match="there is no .*settings.json"):
        read_json(tmp_path / SETTINGS, "run it again")


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DepError, match="cannot write"), claimed(tmp_path / "out", {}):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_with_words(tmp_path):
    log = JsonLines(tmp_path / "p.jsonl")
    log.path.symlink_to("/dev/full")
    with pytest.raises(DepError, match="No space left") as caught:
        next(log.append(ENTRIES))
    assert "goes on" in caught.value.hint
    assert log.entries == []


def test_the_folder_of_an_evaluation_and_its_lock_are_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        with claimed(tmp_path / "evaluations" / "new", {"a": 1}):
            made = [tmp_path / "evaluations", *(tmp_path / "evaluations").rglob("*")]
            assert len(made) > 2 and not [path for path in made if path.stat().st_mode & 0o077]
    finally:
        os.umask(before)


def test_lines_are_for_their_owner_alone(tmp_path):
    list(JsonLines(tmp_path / "lines.jsonl").append([{"id": 1}]))
    assert (tmp_path / "lines.jsonl").stat().st_mode & 0o077 == 0
