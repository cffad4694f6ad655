"""DEP with a sparse autoencoder, a plain one, or none."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from depcli.adapters.dep import DepAdapter, DepLoss, DepShape
from depcli.records import Slot

SLOTS = [Slot("his", np.eye(12, dtype=np.float32)[0]), Slot("diff", np.eye(12, dtype=np.float32)[1])]


def adapter(reduction: str) -> DepAdapter:
    torch.manual_seed(0)
    return DepAdapter(DepShape(12, 6, 10, 2.0, reduction))


def test_an_autoencoder_is_a_sparse_one_without_the_term_for_sparsity():
    sparse, plain = adapter("sae"), adapter("ae")
    assert torch.equal(sparse(SLOTS)[0], plain(SLOTS)[0])
    weights = DepLoss(lambda_sae=7.0, gamma=0.5)
    (with_it, terms), (without, _) = (one.penalty(one(SLOTS)[1], weights) for one in (sparse, plain))
    torch.testing.assert_close(without, 7.0 * terms["recon"])
    torch.testing.assert_close(with_it, 7.0 * (terms["recon"] + 0.5 * terms["sparse"]))


def test_without_reduction_the_embedding_itself_is_projected():
    bare = adapter("none")
    assert not [name for name in bare.state_dict() if name.startswith("sae")]
    rows, seen = bare(SLOTS)
    assert bare.penalty(seen, DepLoss()) == (None, {})
    first, _, second = bare.projectors["diff"]
    expected = second(F.gelu(first(torch.from_numpy(SLOTS[1].embedding) * 12**0.5))) * 2.0 / 10**0.5
    torch.testing.assert_close(rows[1], expected)
