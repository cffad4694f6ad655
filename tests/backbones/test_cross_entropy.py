from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from depcli.backbones.cross_entropy import cross_entropy

N, H, V = 23, 16, 501


def parts(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(H, V).to(dtype).requires_grad_(False)
    with torch.no_grad():
        head.weight.copy_(torch.randn(V, H, generator=generator))
    head.vocabulary = V
    hidden = torch.randn(N, H, generator=generator).to(dtype).requires_grad_()
    return head, hidden, torch.randint(V, (N,), generator=generator), torch.rand(N, generator=generator)


@pytest.mark.parametrize("chunk", [1, 5 * V, 1 << 25])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_losses_and_gradients_equal_the_plain_formula(chunk, dtype, tolerance):
    head, hidden, wanted, weights = parts(dtype)
    expected = F.cross_entropy(head(hidden).float(), wanted, reduction="none")
    (by_hand,) = torch.autograd.grad((expected * weights).sum(), hidden)
    found = cross_entropy(head, hidden, wanted, chunk)
    (gradient,) = torch.autograd.grad((found * weights).sum(), hidden)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, by_hand, rtol=tolerance, atol=tolerance)
    assert gradient.dtype == dtype
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(head, hidden, wanted, chunk), expected)


def test_no_chunk_has_more_logits_than_allowed():
    head, hidden, wanted, _ = parts()
    seen = []
    head.register_forward_hook(lambda module, inputs, output: seen.append(output.numel()))
    cross_entropy(head, hidden, wanted, 4 * V).sum().backward()
    assert max(seen) == 4 * V and sum(seen) == N * V


def test_the_slope_is_that_of_the_losses():
    head, hidden, wanted, weights = parts()
    head, hidden, weights = head.double(), hidden.detach().double().requires_grad_(), weights.double()

    def loss(hidden):
        return (F.cross_entropy(head(hidden), wanted, reduction="none") * weights).sum()

    (gradient,) = torch.autograd.grad((cross_entropy(head, hidden, wanted, 3 * V) * weights).sum(), hidden)
    step = torch.zeros_like(hidden)
    step[7, 3] = 1e-5
    slope = (loss(hidden.detach() + step) - loss(hidden.detach() - step)) / 2e-5
    assert gradient[7, 3].item() == pytest.approx(slope.item(), rel=1e-4)
