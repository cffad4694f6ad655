"""Difference alignment: does a generated review differ from what others wrote in the way the real one does?

The cosine between (e(generated) - mean of the peers) and (e(real) - mean of the peers), e being the embedder of the store and the
peers all others who reviewed the target item. 1: it stands apart in the same direction.

No relation is not 0. Both differences are from the same n peers, whose mean is only an estimate: three reviews that have nothing
to do with each other make an equilateral triangle on average, so that one peer gives a cosine of 1/2, and n peers 1 / (n + 1).
Methods share this on the same targets; beside one value alone stands `chance`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

import numpy as np

from depcli.evaluation.measures.metrics import is_empty
from depcli.evaluation.predictions import digest
from depcli.personal.difference import Peers, key_of
from depcli.personal.history import each_history
from depcli.splits.split import Target

_REAL = 256  # reviews whose items are looked up together
_TEXTS = 256  # embedded together: the more there are, the better they pair off by length
_NO_LENGTH = 1e-4  # unit vectors no further apart than this are of the same text: what is left of the difference is rounding


@dataclass(frozen=True, eq=False)
class Real:
    """What the real review of a target says: the mean (d,) float64 of the peers' vectors, its own vector minus that mean, and the
    number of peers."""

    mean: np.ndarray
    difference: np.ndarray
    peers: int


def real_differences(snapshot, targets: Sequence[Target], *, min_peers: int = 1) -> dict[tuple[str, str], Real]:
    """By target key. Absent are targets whose item has fewer than `min_peers` other reviewers in `snapshot`, and those that
    equal the mean of their peers: for them the alignment is undefined, whatever is generated.

    Peers are all others: nothing of this goes into a prompt, so held-out reviews of other users count, which makes the mean a
    better one.
    """
    wanted = {target.key for target in targets}
    peers = Peers(snapshot, min_peers=min_peers)
    found: dict[tuple[str, str], Real] = {}
    histories = each_history(snapshot, {user for user, _ in wanted})
    entries = (entry for _, history in histories for entry in history if key_of(entry) in wanted)
    while window := list(islice(entries, _REAL)):
        for entry, (difference, count) in zip(window, peers.differences(window), strict=True):
            if difference is None or np.linalg.norm(difference) <= _NO_LENGTH:
                continue
            difference = difference.astype(np.float64)
            found[key_of(entry)] = Real(entry.vector - difference, difference, count)
    return found


def alignments(
    embed: Callable[[Sequence[str]], np.ndarray], lines: Iterable[dict], real: Mapping[tuple[str, str], Real]
) -> Iterator[dict]:
    """{"id", "method", "text" (its digest), "cosine", "peers"} of each line of predictions.jsonl, in order, embedded 256 at a
    time; cosine and peers are None where the target is not in `real`. A text without content scores 0, and so does one on the
    mean of the peers."""
    lines = iter(lines)
    while window := list(islice(lines, _TEXTS)):
        against = [real.get((line["user_id"], line["asin"])) for line in window]
        embedded = [i for i, line in enumerate(window) if against[i] and not is_empty(line["prediction"])]
        vectors = dict(zip(embedded, embed([window[i]["prediction"] for i in embedded]) if embedded else (), strict=True))
        for i, (line, one) in enumerate(zip(window, against, strict=True)):
            cosine = _cosine(vectors[i] - one.mean, one.difference) if i in vectors else 0.0
            told = {"cosine": cosine, "peers": one.peers} if one else {"cosine": None, "peers": None}
            yield {"id": line["id"], "method": line["method"], "text": digest(line["prediction"]), **told}


def chance(peers: Iterable[int]) -> float:
    """The alignment of texts that are no more like the real reviews than the peers' reviews are, on average over targets with so
    many peers each."""
    return fmean(1 / (count + 1) for count in peers)


def signature(embedder, min_peers: int) -> str:
    """What the values depend on."""
    identity = embedder.identity
    return f"cosine of differences from the peers' mean|{identity.name} {identity.revision}|at least {min_peers} peers"


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = np.linalg.norm(a)
    return round(float(a @ b / (length * np.linalg.norm(b))), 6) if length > _NO_LENGTH else 0.0  # the rest depends on the batch
