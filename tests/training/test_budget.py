"""Out of memory: real allocations that fail, in the middle of a pass through the backbone."""

from __future__ import annotations

import pytest
import torch

from depcli.training import checkpoints
from depcli.training.budget import Budget
from depcli.training.hardware import Hardware, OutOfMemory, is_out_of_memory
from tests.training.made import make_examples
from tests.training.test_loop import metrics, run


def too_much() -> None:
    torch.empty(1 << 55, dtype=torch.uint8)


def hungry(model, limit: int, *, from_pass: int = 0):
    """The first layer of the model fails to allocate when a pass holds more than `limit` padded positions, from a pass on."""
    passes = 0

    def check(module, inputs, output):
        nonlocal passes
        passes += 1
        if passes > from_pass and output.shape[0] * output.shape[1] > limit:
            too_much()

    return model.base_model.layers[0].mlp.register_forward_hook(check)


def test_a_failed_allocation_is_known_for_what_it_is():
    with pytest.raises(RuntimeError) as caught:
        too_much()
    assert is_out_of_memory(caught.value) and is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_smaller_passes_make_the_same_adapter(parts, tmp_path):
    notes, alike = [], {"validate": lambda adapter: {"score": 1.0}}
    _, whole = run(parts, tmp_path / "whole", **alike)
    longest = max(len(example.encoded.ids) for example in make_examples(parts[1]))
    hook = hungry(parts[0], longest)
    try:
        _, adapter = run(parts, tmp_path / "less", budget=Budget(500, on_event=notes.append), **alike)
    finally:
        hook.remove()
    assert notes[0]["note"] == "out of memory: going on with 250 tokens at a time"
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(adapter.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)


def test_when_one_review_is_too_much_the_message_says_so_and_resume_goes_on(parts, tmp_path):
    _, whole = run(parts, tmp_path / "whole")
    hook = hungry(parts[0], 10, from_pass=8)
    try:
        with pytest.raises(OutOfMemory, match="one review of") as caught:
            run(parts, tmp_path / "cut", budget=Budget(500, Hardware(precision="int8")))
    finally:
        hook.remove()
    assert "--resume" in caught.value.hint and "--checkpointing" in caught.value.hint
    assert "--backbone-precision" not in caught.value.hint  # in use already
    done = torch.load(checkpoints.path_of(tmp_path / "cut"), weights_only=True)["progress"]["step"]
    assert 0 < done < 9
    _, resumed = run(parts, tmp_path / "cut", resume=True)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
    assert metrics(tmp_path / "cut", "step", "loss") == metrics(tmp_path / "whole", "step", "loss")


def test_another_error_is_not_swallowed():
    with pytest.raises(RuntimeError, match="^shapes$"):
        Budget(100).spend(lambda tokens: exec("raise RuntimeError('shapes')"), [_Long()])


class _Long:
    class encoded:
        ids = range(9)
