"""vLLM in processes of its own: whatever ends ours, none of them is left, and what was written is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from depcli.cli import main
from depcli.engines.vllm.process import guarded
from tests.personal.conftest import few_people, made_store

# Left by a killed process, so that this one is its parent then.
GUARDED = """
import subprocess, sys, time
from depcli.engines.vllm.process import guarded
child = subprocess.Popen(["sleep", "1000"])
guard = guarded([child.pid])
print(child.pid, guard.pid, flush=True)
time.sleep(1000)
"""
DEP = (
    "import signal, sys; from depcli.cli import main; signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())"
)


def gone(pids: list[int]) -> bool:
    """Whether all of these have ended within a minute."""
    there = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    alive = psutil.wait_procs(there, timeout=60)[1]
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_what_a_killed_process_leaves_is_ended():
    with subprocess.Popen([sys.executable, "-c", GUARDED], stdout=subprocess.PIPE, text=True, env=environment()) as process:
        left = [int(word) for word in process.stdout.readline().split()]
        assert len(left) == 2 and all(map(psutil.pid_exists, left))
        process.send_signal(signal.SIGKILL)
    assert gone(left)


def test_nothing_to_guard():
    assert guarded([]) is None


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """(profiles, a file of more requests than vLLM could have written before it is ended)"""
    folder = tmp_path_factory.mktemp("profiles")
    users = made_store(folder, *few_people(2)).snapshot().user_ids()
    path = folder / "wanted.jsonl"
    lines = [{"user_id": users[n % 2], "asin": f"new{n}", "item_title": f"Thing {n}"} for n in range(20_000)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder, path


def environment() -> dict[str, str]:
    cpu = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return os.environ | cpu | {"PYTHONPATH": os.pathsep.join(sys.path)}


def arguments(wanted, backbone, out) -> list[str]:
    return [
        "write",
        "--requests",
        str(wanted[1]),
        "--out",
        str(out),
        "--profiles",
        str(wanted[0]),
        "--backbone",
        str(backbone),
        "--method",
        "nonperso",
        "--template",
        "compact",
        "--engine",
        "vllm",
        "--temperature",
        "0",
        "--max-new-tokens",
        "100",
    ]


@pytest.mark.slow  # vLLM starts in processes of its own: a minute and more on two cores
@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", ["ctrl-c", "terminate", "engine dies"])
def test_no_process_is_left_and_nothing_is_lost(wanted, wide_heads, tmp_path, what):
    out = tmp_path / "reviews.jsonl"
    command = [sys.executable, "-c", DEP, *arguments(wanted, wide_heads, out)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    ) as process:
        while process.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") >= 2):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
        children = psutil.Process(process.pid).children(recursive=True)
        below = [child.pid for child in children]
        assert len(below) >= 2  # vLLM's, and the guard
        if what == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)  # a terminal tells every process
        elif what == "terminate":
            process.send_signal(signal.SIGTERM)
        else:
            [core] = [child for child in children if child.ppid() == process.pid and "spawn_main" in " ".join(child.cmdline())]
            core.kill()
        _, said = process.communicate(timeout=120)
    assert gone(below)
    code = {"ctrl-c": 130, "terminate": 128 + signal.SIGTERM, "engine dies": 1}[what]
    assert process.returncode == code, said
    if what == "engine dies":
        assert "vLLM has died" in said and "run the same command again" in said
    assert "bug in dep" not in said
    kept = out.read_bytes().splitlines()
    assert 2 <= len(kept) < 20_000 and all(json.loads(line)["text"] is not None for line in kept)


@pytest.mark.slow  # vLLM starts in processes of its own: a minute and more on two cores
@pytest.mark.vllm
@pytest.mark.filterwarnings("default")
def test_an_interrupted_batch_ends_as_the_whole_one(wanted, wide_heads, tmp_path, monkeypatch, capsys):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    out, expected, some = tmp_path / "cut.jsonl", tmp_path / "whole.jsonl", tmp_path / "some.jsonl"
    some.write_text("".join(wanted[1].read_text().splitlines(keepends=True)[:20]))
    wanted = wanted[0], some
    assert main(arguments(wanted, wide_heads, expected)) == 0
    (tmp_path / "cut.jsonl.settings.json").write_bytes((tmp_path / "whole.jsonl.settings.json").read_bytes())
    out.write_bytes(expected.read_bytes()[:1500])
    assert main(arguments(wanted, wide_heads, out)) == 0
    assert out.read_bytes() == expected.read_bytes()
    reference = [*arguments(wanted, wide_heads, tmp_path / "reference.jsonl"), "--engine", "transformers"]
    assert main(reference) == 0
    assert (tmp_path / "reference.jsonl").read_bytes() == expected.read_bytes()
