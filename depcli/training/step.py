"""One optimizer step's losses and gradients, whatever the memory: DEP eq. 11."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from depcli.adapters.dep import DepLoss
from depcli.backbones.sequence import grain_of, micro_batches, target_losses
from depcli.training.examples import Example
from depcli.training.workers import Workers


def backward(
    model, adapter, batch: Sequence[Example], weights: DepLoss, micro_tokens: int, workers: Workers | None = None
) -> dict[str, float]:
    """Add the gradients of L_gen and of the adapter's penalty (for DEP lambda * (L_recon + gamma * L_sparse)) over `batch` to the
    adapter; return the terms.

    L_gen is the mean over all target tokens of the batch. The adapter runs once for the whole batch, so the mean
    activations of the sparsity term are those of the batch too; the backbone runs in passes of `micro_tokens` that each
    add to the gradient of the soft tokens. How the batch is cut into passes, and who of the workers does which, therefore
    changes nothing but memory and time.
    """
    workers = workers or Workers()
    slots = [slot for example in batch for slot in example.slots]
    rows, seen = adapter(slots)
    soft = rows.detach().requires_grad_()
    starts = [0]
    for example in batch:
        starts.append(starts[-1] + len(example.slots))
    targets = sum(example.encoded.targets for example in batch)
    soft.grad = torch.zeros_like(soft)
    generation = torch.zeros((), dtype=torch.float64, device=soft.device)
    lengths = [len(example.encoded.ids) for example in batch]
    for positions in shared_passes(lengths, micro_tokens, workers, grain_of(model)):
        part = torch.cat([soft[starts[i] : starts[i + 1]] for i in positions])
        loss = target_losses(model, [batch[i].encoded for i in positions], part).sum() / targets
        if part.numel():
            loss.backward()
        generation += loss.detach()  # read when all are on their way
    workers.add_up(soft.grad)
    generation = sum(workers.gather([generation.item()]))
    penalty, terms = adapter.penalty(seen, weights)
    added = [] if penalty is None else [penalty]
    torch.autograd.backward([rows, *added], [soft.grad, *(None for _ in added)])
    numbers = {name: term.item() for name, term in terms.items()}
    return {"loss": generation + sum(term.item() for term in added), "gen": generation, **numbers}


@torch.no_grad()
def review_losses(
    model, adapter, examples: Sequence[Example], micro_tokens: int, workers: Workers | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Summed cross-entropy (n,) in nats and number of target tokens (n,) of each example; `adapter` None for text alone."""
    workers = workers or Workers()
    nats = np.zeros(len(examples))
    lengths = [len(example.encoded.ids) for example in examples]
    for positions in shared_passes(lengths, micro_tokens, workers, grain_of(model)):
        chosen = [examples[i] for i in positions]
        slots = [slot for example in chosen for slot in example.slots]
        rows = adapter(slots)[0] if slots else None
        losses = target_losses(model, [example.encoded for example in chosen], rows)
        pieces = losses.split([example.encoded.targets for example in chosen])
        nats[positions] = [piece.sum().item() for piece in pieces]
    nats = sum(workers.gather([nats]))  # each has zeros where another was at work
    return nats, np.array([example.encoded.targets for example in examples])


def shared_passes(lengths: Sequence[int], micro_tokens: int, workers: Workers, grain: int) -> list[list[int]]:
    """Positions of this worker's share, in passes of `micro_tokens` tokens padded to a multiple of `grain`."""
    mine = workers.share(lengths)
    return [[mine[i] for i in positions] for positions in micro_batches([lengths[i] for i in mine], micro_tokens, grain)]
