"""BLEU as what it is: one value of sums over a corpus, from counts that each text adds to.

The counts of a text, a row of ten: n-grams of the real review that were written, for n = 1 to 4, n-grams that were written, and
the lengths of both texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ORDER = 4


def counts(predictions: Sequence[str], references: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The counts of each text, as sacreBLEU makes them."""
    from sacrebleu.metrics import BLEU

    metric = BLEU(effective_order=True)  # as it is of one text; no count depends on that
    found = (metric.sentence_score(p, [r]) for p, r in zip(predictions, references, strict=True))
    return tuple((*one.counts, *one.totals, one.sys_len, one.ref_len) for one in found)


def values(sums) -> np.ndarray:
    """BLEU (...,) from 0 to 100 of sums of counts (..., 10): the corpus score of sacreBLEU, zero counts smoothed by halves of the
    smallest share there could be (`smooth:exp`), for any number of corpora at once."""
    sums = np.asarray(sums, np.float64)
    shared, made, written, real = sums[..., :ORDER], sums[..., ORDER : 2 * ORDER], sums[..., -2], sums[..., -1]
    missed = np.cumsum(shared == 0, axis=-1)  # how many orders up to this one have no match
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(shared == 0, 0.5**missed, shared) / made
        brevity = np.where(written < real, np.exp(1 - real / written), 1.0)
        score = 100 * brevity * np.exp(np.log(shares).mean(axis=-1))
    return np.where(shared.any(axis=-1) & (made > 0).all(axis=-1), score, 0.0)
