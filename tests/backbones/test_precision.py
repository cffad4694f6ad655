from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from depcli.backbones import find, load_in, load_tokenizer, precision, weights_digest
from depcli.backbones.fp8 import E4M3, Fp8Linear, quantize
from depcli.backbones.sequence import target_losses
from depcli.errors import MissingDependency
from tests.backbones.test_sequence import batch_of


def losses(model, tiny_backbone):
    batch = batch_of(load_tokenizer(find(str(tiny_backbone))))
    rows = (torch.randn(3, 64, generator=torch.Generator().manual_seed(0)) * 0.5).requires_grad_()
    found = target_losses(model, batch, rows)
    (gradient,) = torch.autograd.grad(found.sum(), rows)
    return found.detach(), gradient


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "error", "likeness"), [("bf16", 0.03, 0.999), ("fp8", 0.25, 0.95), ("int8", 0.1, 0.99), ("int4", 0.6, 0.8)]
)
def test_losses_and_gradients_are_near_those_of_the_whole_weights(tiny_backbone, name, error, likeness):
    if name.startswith("int") and find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    backbone = find(str(tiny_backbone))
    whole, model = load_in(backbone, None, device="cpu"), load_in(backbone, name, device="cpu")
    before = weights_digest(model)
    (expected, wanted), (found, gradient) = losses(whole, tiny_backbone), losses(model, tiny_backbone)
    assert (found - expected).norm() < error * (expected - expected.mean()).norm()
    assert torch.cosine_similarity(gradient.flatten(), wanted.flatten(), dim=0) > likeness
    assert weights_digest(model) == before and not any(parameter.requires_grad for parameter in model.parameters())


def test_a_product_in_fp8_and_its_gradient():
    torch.manual_seed(0)
    linear = nn.Linear(64, 48)
    x = torch.randn(7, 64) * torch.logspace(-6, 6, 7)[:, None]  # one scale for all rows would leave the first ones nothing
    gradient = torch.randn(7, 48)
    found, expected = (x.clone().requires_grad_() for _ in range(2))
    y = Fp8Linear(linear)(found)
    y.backward(gradient)
    linear(expected).backward(gradient)
    weight = linear.weight.detach()
    assert ((y - linear(x)).abs() <= 0.07 * (x.abs() @ weight.abs().t()) + 0.01 * linear.bias.abs()).all()
    assert ((found.grad - expected.grad).abs() <= 0.07 * (gradient.abs() @ weight.abs())).all()


def test_rows_use_the_whole_range():
    x8, scale = quantize(torch.tensor([[1.0, -4.0], [0.0, 0.0]]))
    assert x8.dtype == E4M3 and x8.float().abs().max() == torch.finfo(E4M3).max
    assert torch.equal(x8.float() * scale, torch.tensor([[1.0, -4.0], [0.0, 0.0]]))


def test_a_package_that_is_not_there(tiny_backbone, monkeypatch):
    monkeypatch.setattr(precision, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="bitsandbytes") as caught:
        load_in(find(str(tiny_backbone)), "int4", device="cpu")
    assert "pip install" in caught.value.hint
