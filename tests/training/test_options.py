from __future__ import annotations

import pytest

from depcli.training.options import TrainOptions


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, (1e-2, 1e-2, 5.3e-3, 2.7e-3)),
        ({"method": "trained-prompt", "reduction": "sae"}, (1e-2, 1e-2, 5.3e-3, 2.7e-3)),
        ({"reduction": "sae"}, (1e-2, 1e-2, 1e-2, 1e-5)),
        ({"method": "pplug"}, (1e-2, 1e-2, 1e-2, 1e-5)),
        ({"learning_rate": 0.5}, (0.5,) * 4),
    ],
)
def test_the_papers_rate_is_for_projectors_of_large_backbones(options, rates):
    assert tuple(TrainOptions(**options).rate_for(hidden)[0] for hidden in (64, 256, 896, 3584)) == rates


def test_a_rate_that_is_named_is_told_beside_the_usual_one():
    papers = TrainOptions(reduction="sae", learning_rate=1e-5)
    assert papers.rate_for(3584) == (1e-5, "as named")
    assert papers.rate_for(256) == (1e-5, "as named; by itself 0.01, the backbone is small (hidden size 256)")
