from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from depcli.adapters.dep import DepAdapter, DepLoss, DepShape, dep_losses
from depcli.adapters.kinds import MARKERS
from depcli.adapters.project import project
from depcli.adapters.sae import SparseAutoencoder, sparsity_loss
from depcli.records import Prompt, Slot, SoftPrompt, Text, Vectors


def unit(seed: int, d: int = 12) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=d).astype(np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture
def adapter():
    torch.manual_seed(0)
    return DepAdapter(DepShape(d=12, latents=6, hidden=10, token_norm=2.0))


def some_slots() -> list[Slot]:
    return [
        Slot("his_start"),
        Slot("his", unit(1)),
        Slot("his_end"),
        Slot("diff_start"),
        Slot("diff", unit(2)),
        Slot("diff_end"),
        Slot("his_start"),
        Slot("his", unit(3)),
        Slot("his_end"),
    ]


def test_each_slot_gets_the_row_it_would_get_alone(adapter):
    slots = some_slots()
    rows, _ = adapter(slots)
    for slot, row in zip(slots, rows, strict=True):
        torch.testing.assert_close(adapter([slot])[0][0], row)


def test_rows_follow_the_formula(adapter):
    his = unit(1)
    (row,), _ = adapter([Slot("his", his)])
    w = {name: p.detach() for name, p in adapter.named_parameters()}
    z = torch.sigmoid(w["sae.encoder.weight"] @ torch.from_numpy(his * math.sqrt(12)) + w["sae.encoder.bias"])
    hidden = F.gelu(w["projectors.his.0.weight"] @ z + w["projectors.his.0.bias"])
    expected = (w["projectors.his.2.weight"] @ hidden + w["projectors.his.2.bias"]) * 2.0 / math.sqrt(10)
    torch.testing.assert_close(row, expected)


def test_markers_are_four_vectors_that_do_not_depend_on_the_user(adapter):
    rows = {name: adapter([Slot(name)])[0][0] for name in MARKERS}
    assert len({tuple(row.tolist()) for row in rows.values()}) == 4


def test_losses_equal_a_slow_computation_per_kind(adapter):
    slots = some_slots()
    _, seen = adapter(slots)
    weights = DepLoss(lambda_sae=7.0, gamma=0.3, rho=0.05)
    terms = dep_losses(seen, weights)

    recon = sparse = 0.0
    for kind in ("his", "diff"):
        vectors = [slot.embedding for slot in slots if slot.kind == kind]
        errors, latents = [], []
        for vector in vectors:
            z = adapter.sae.encode(torch.from_numpy(vector)[None])
            for a, b in zip(adapter.sae.decode(z)[0].tolist(), vector.tolist(), strict=True):
                errors.append(0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5)
            latents.append(z[0].tolist())
        recon += sum(errors) / len(errors)
        kl = []
        for column in zip(*latents, strict=True):
            mean = sum(column) / len(column)
            kl.append(0.05 * math.log(0.05 / mean) + 0.95 * math.log(0.95 / (1 - mean)))
        sparse += sum(kl) / len(kl)
    assert terms["recon"].item() == pytest.approx(recon, rel=1e-5)
    assert terms["sparse"].item() == pytest.approx(sparse, rel=1e-5)
    assert terms["sae"].item() == pytest.approx(7.0 * (recon + 0.3 * sparse), rel=1e-5)


def test_sparsity_is_zero_at_the_target_and_pulls_every_latent_towards_it():
    assert sparsity_loss(torch.full((5, 4), 0.05), 0.05).item() == pytest.approx(0.0, abs=1e-6)
    z = torch.tensor([[0.001, 0.02, 0.5, 0.999]], requires_grad=True)
    sparsity_loss(z, 0.05).backward()
    assert (torch.sign(z.grad) == torch.tensor([[-1.0, -1.0, 1.0, 1.0]])).all()


def test_the_decoder_reaches_negative_coordinates():
    torch.manual_seed(0)
    sae, target = SparseAutoencoder(6, 6), torch.tensor([[-0.5, 0.5, -0.5, 0.5, 0.0, 0.0]])
    optimizer = torch.optim.Adam(sae.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        F.mse_loss(sae.decode(sae.encode(target)), target).backward()
        optimizer.step()
    torch.testing.assert_close(sae.decode(sae.encode(target)), target, atol=0.02, rtol=0)


def test_projecting_keeps_the_text_and_joins_neighbouring_slots(adapter):
    slots = some_slots()
    prompt = Prompt((Text("a"), *slots[:6], Text("b"), *slots[6:]))
    soft = project(adapter, prompt)
    assert [type(part) for part in soft.parts] == [Text, Vectors, Text, Vectors]
    assert [len(part.rows) for part in soft.parts if isinstance(part, Vectors)] == [6, 3]
    rows = np.concatenate([part.rows for part in soft.parts if isinstance(part, Vectors)])
    np.testing.assert_allclose(rows, adapter(slots)[0].detach().numpy(), rtol=1e-6)
    assert not adapter.sae.encoder.weight.grad


def test_a_prompt_without_history_passes_as_text(adapter):
    assert project(adapter, Prompt((Text("only"),))).text_only


@pytest.mark.parametrize(
    "rows",
    [
        np.full((1, 4), np.nan, np.float32),
        np.zeros((2, 4), np.float32),
        np.ones((1, 4)),
        np.ones(4, np.float32),
        np.ones((0, 4), np.float32),
    ],
)
def test_bad_soft_tokens_are_refused(rows):
    with pytest.raises(ValueError, match="soft token"):
        Vectors(rows)


def test_the_width_of_soft_tokens_is_checked():
    with pytest.raises(ValueError, match="4 wide.*needs 8"):
        SoftPrompt((Vectors(np.ones((1, 4), np.float32)),), 8)
