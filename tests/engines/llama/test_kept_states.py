"""A prompt that an earlier process has read is not read again, and nobody can tell from the numbers; nothing stale is found."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.engines.llama.kept_states import KeptStates, forget
from depcli.errors import DepError
from depcli.records import Sampling, SoftPrompt, Text, Vectors

STORY = "A quiet film that grows on you, scene by scene, whatever its makers thought. " * 12
ROWS = (np.random.default_rng(5).standard_normal((3, 64)) * 0.3).astype(np.float32)


def prompt(*end: str, rows=ROWS) -> SoftPrompt:
    return SoftPrompt((Text(STORY), Vectors(rows), Text(STORY), *map(Text, end)), 64)


@contextmanager
def always():
    yield True


@pytest.fixture
def states(tmp_path):
    (tmp_path / "cache").mkdir()
    return KeptStates(tmp_path / "cache" / "states", always)


@pytest.fixture
def read(tiny_backbone):
    """read(prompt, states): (logits of what follows, positions reused), in an engine of its own."""

    def run(asked, states, *, exact=True):
        with load("llamacpp", find(str(tiny_backbone)), exact=exact, kept=states) as engine:
            return engine.next_logits(asked), engine.reused

    return run


def test_another_engine_goes_on_where_the_first_was_to_the_last_bit(read, states):
    for end in ("The Lamp.", "A Kettle, and a longer story of it.", "The Lamp."):
        expected, _ = read(prompt(end), None)
        found, reused = read(prompt(end), states)
        assert np.array_equal(found, expected)
    assert reused > 300
    assert len(list(states.folder.iterdir())) == 1  # what shares most of its beginning is not kept again


def test_nothing_is_found_for_another_beginning_or_other_numerics(read, states, tiny_backbone, tmp_path, monkeypatch):
    read(prompt("x"), states)
    rows = ROWS.copy()
    rows[0, 0] = np.nextafter(rows[0, 0], np.float32(9))
    logits, reused = read(prompt("x", rows=rows), states)
    with load("llamacpp", find(str(tiny_backbone))) as engine:
        piece = engine._llama._piece
        assert reused == engine.count(STORY) // piece * piece > 0  # up to the soft token that differs in its last bit
    assert np.array_equal(logits, read(prompt("x", rows=rows), None)[0])
    assert read(prompt("x"), states, exact=False)[1] == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert read(prompt("x"), states)[1] == 0


def test_other_weights_under_the_same_name_find_nothing(read, states, tiny_backbone, tmp_path):
    import shutil

    copy = tmp_path / "model"
    shutil.copytree(tiny_backbone, copy)
    read(prompt("x"), states)
    (gguf,) = copy.glob("*.gguf")
    data = bytearray(gguf.read_bytes())
    data[-1] ^= 1  # one bit of one weight
    gguf.write_bytes(data)
    with load("llamacpp", find(str(copy)), exact=True, kept=states) as engine:
        engine.next_logits(prompt("x"))
        assert engine.reused == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "header", "gone"])
def test_a_damaged_state_counts_as_none(read, states, damage):
    expected, _ = read(prompt("x"), states)
    (path,) = states.folder.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-100:]
    elif damage == "flipped":
        data[-100] ^= 4
    elif damage == "empty":
        data.clear()
    elif damage == "header":
        data[:1] = b"["
    path.write_bytes(data)
    if damage == "gone":
        path.unlink()
    logits, reused = read(prompt("x"), states)
    assert reused == 0 and np.array_equal(logits, expected)
    assert read(prompt("x"), states)[1] > 300  # and is replaced by a whole one


def test_whichever_bit_of_a_header_falls_over_the_state_is_the_right_one_or_none(states):
    digests = [b"a" * 16, b"b" * 16, b"c" * 16]
    states.keep(digests, lambda: np.arange(200, dtype=np.uint8))
    (path,) = states.folder.iterdir()
    whole, found = path.read_bytes(), []
    for bit in range(8 * (whole.index(b"\n") + 1)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        state = states.find(digests, at_least=1)
        found.append(state.load() if state else None)
    assert all(state is None or np.array_equal(state, np.arange(200)) for state in found)
    assert sum(state is None for state in found) > len(found) / 2


def test_who_was_forgotten_meanwhile_is_not_kept(read, tmp_path):
    @contextmanager
    def gone():
        yield False

    (tmp_path / "cache").mkdir()
    states = KeptStates(tmp_path / "cache" / "states", gone)
    read(prompt("x"), states)
    assert not states.folder.exists()
    forget(tmp_path)  # nothing there: fine


def test_the_folder_stays_within_its_size_and_the_oldest_go(states):
    import os

    def keep(name: str, size: int):
        states.keep([name.encode() * 8, b"end" + name.encode()], lambda: np.full(size, 7, np.uint8))

    states._most = 10_000
    for age, name in enumerate("abc"):
        keep(name, 3_000)
        os.utime(states.folder / f"{(name * 8).encode().hex()[:16]}-{(b'end' + name.encode()).hex()}.state", (age, age))
    (states.folder / ".left-by-a-kill").write_bytes(b"x" * 5000)
    assert states.find([b"a" * 8, b"other"], 1).load().tolist() == [7] * 3_000  # used: not the oldest any more
    keep("d", 3_000)
    kept = {chr(bytes.fromhex(path.name[:2])[0]) for path in states.folder.glob("*.state")}
    assert kept == {"a", "c", "d"} and sum(path.stat().st_size for path in states.folder.iterdir()) <= 10_000
    keep("e", 10_001)
    assert states.find([b"e" * 8, b"other"], 1) is None


def test_states_behind_a_link_are_deleted_and_the_link_stays(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "states").symlink_to(elsewhere)
    states = KeptStates(tmp_path / "cache" / "states", always)
    states.keep([b"a", b"b"], lambda: np.ones(9, np.uint8))
    (elsewhere / ".61-62.state.killed").write_bytes(b"words")
    (elsewhere / "letter.txt").write_bytes(b"not ours")
    assert states.find([b"a", b"other"], 1) is not None
    forget(tmp_path)
    assert [path.name for path in elsewhere.iterdir()] == ["letter.txt"] and states.folder.is_symlink()


def test_states_that_cannot_be_deleted_are_an_error(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "a-folder.state").mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "states").symlink_to(elsewhere)
    with pytest.raises(DepError, match="cannot delete"):
        forget(tmp_path)


def test_text_after_a_kept_prompt_is_the_same(tiny_backbone, states):
    texts = []
    for kept in (None, states, states):
        with load("llamacpp", find(str(tiny_backbone)), kept=kept) as engine:
            texts += [done.tokens for done in engine.generate([(prompt("Now:"), Sampling(seed=4, max_new_tokens=20))])]
    assert texts[0] == texts[1] == texts[2]
