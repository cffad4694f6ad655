from __future__ import annotations

import signal

import pytest
import torch

from depcli.training import checkpoints, loop
from tests.training.test_loop import metrics, run


@pytest.mark.parametrize("step", [1, 4])
def test_ctrl_c_in_the_middle_of_a_step_loses_nothing(parts, tmp_path, monkeypatch, step):
    real, calls, told = loop.backward, 0, []

    def press_ctrl_c(*args):
        nonlocal calls
        calls += 1
        if calls == step:
            signal.raise_signal(signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(loop, "backward", press_ctrl_c)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(parts, tmp_path / "cut", told=told)
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.setattr(loop, "backward", real)
    assert [event["note"] for event in told if "note" in event] == ["stopping after this step"]
    assert torch.load(checkpoints.path_of(tmp_path / "cut"), weights_only=True)["progress"]["step"] == step
    resumed = run(parts, tmp_path / "cut", resume=True)[1]
    whole = run(parts, tmp_path / "whole")[1]
    assert metrics(tmp_path / "cut", "step", "loss") == metrics(tmp_path / "whole", "step", "loss")
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
