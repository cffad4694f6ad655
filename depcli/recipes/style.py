"""Fit the bundled projection: python -m depcli.recipes.style DATA [OUT]

DATA is laid out as in corpus.py, whose held-out reviews are left out here too: everything by half of the critics
of the benchmark, and the last five reviews of the other half. Only film reviews are used; music stays an unseen domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from depcli.embedders.style.projection import LAYERS, WEIGHTS, Projection, inputs

DIMENSION = 128
SHRINKAGE = 0.8  # of the covariance within users towards a multiple of the identity
_MIN_REVIEWS, _FULL_WEIGHT = 3, 20  # reviews of a user: fewer do not count, more do not count more
_AT_ONCE = 2048


def fit(rows: np.ndarray, users: Sequence[str], items: Sequence[str], dimension: int = DIMENSION) -> Projection:
    """The projection that tells these users apart, from the inputs (n, i) of their reviews and whose and of what each review is.

    Topic goes first: from each review the mean of all reviews of its item is taken away; reviews alone with their item do not
    count. Then directions v with the most variance between users (B, without what chance adds) over the variance within (W):
    B v = r W v. Each is scaled by sqrt(r), so that a cosine of two projections counts each direction by how much it tells.
    """
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-3
    plain = Projection(mean, deviation, np.empty((rows.shape[1], 0), np.float16))
    item, user = _numbers(items), _numbers(users)
    kept = np.bincount(item)[item] > 1
    rows = (standardized := plain.standardized(rows))[kept] - _means(standardized, item)[item[kept]]
    user = _numbers(user[kept])
    counts, means = np.bincount(user), _means(rows, user)
    off = rows - means[user]
    within = (off.T @ off).astype(np.float64) / (len(rows) - len(counts))
    several = counts > 1
    weights = np.minimum(counts[several], _FULL_WEIGHT) / np.minimum(counts[several], _FULL_WEIGHT).sum()
    chance = (weights / counts[several]).sum()  # of the variance within, this much is in a user's mean
    between = (means[several].T * weights) @ means[several].astype(np.float64) - chance * within
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.eye(len(within)) * np.trace(within) / len(within)
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    ratios, vectors = np.linalg.eigh(whiten @ between @ whiten.T)
    ratios, vectors = ratios[::-1][:dimension], vectors[:, ::-1][:, :dimension]
    matrix = whiten.T @ vectors * np.sqrt(np.maximum(ratios, 0))
    # float16: neither overflow nor loss of the small ones. A factor common to all directions changes no unit vector.
    matrix /= np.abs(matrix).max()
    return Projection(mean.astype(np.float32), deviation.astype(np.float32), matrix.astype(np.float16))


def _numbers(names: Sequence) -> np.ndarray:
    return np.unique(np.asarray(names), return_inverse=True)[1]


def _means(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(groups, i) float64 means of rows by group number."""
    totals = np.zeros((group.max() + 1, rows.shape[1]))
    np.add.at(totals, group, rows)
    return totals / np.bincount(group)[:, None]


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path), default=WEIGHTS)
def main(data: Path, out: Path) -> None:
    """Fit the projection to the film reviews in DATA and write it to OUT."""
    from safetensors.numpy import save_file

    from depcli.backbones import foreknown
    from depcli.embedders.minilm import MiniLM
    from depcli.recipes.corpus import Corpus

    users = Corpus(data).users["rotten_tomatoes"].values()
    reviews = [row for mine in users if len(mine) >= _MIN_REVIEWS for row in mine]
    click.echo(f"{len(reviews):,} reviews by {len({row['user_id'] for row in reviews}):,} users", err=True)
    minilm, parts = MiniLM(), []
    for start in range(0, len(reviews), _AT_ONCE):
        texts = [row["text"] for row in reviews[start : start + _AT_ONCE]]
        parts.append(inputs(texts, minilm.layer_means(texts, LAYERS)))
        click.echo(f"{start + len(texts):,}", err=True)
    projection = fit(np.concatenate(parts), [row["user_id"] for row in reviews], [row["asin"] for row in reviews])
    out.parent.mkdir(parents=True, exist_ok=True)
    np.save(out.with_name(foreknown.FILE), np.unique(foreknown.marks(row["text"] for row in reviews)))
    save_file({"mean": projection.mean, "deviation": projection.deviation, "matrix": projection.matrix}, out)


if __name__ == "__main__":
    main()
