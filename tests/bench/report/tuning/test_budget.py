"""The best of n trials, against enumeration of all subsets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bench.report.tuning.budget import expected_best, quantile_of_best
from bench.seeds import rng


@pytest.mark.parametrize("scores", [[3.0], [1.0, 1.0, 5.0], rng(0, "budget").random(8).tolist()])
def test_against_all_subsets(scores: list[float]) -> None:
    found, low, high = expected_best(scores), quantile_of_best(scores, 0.1), quantile_of_best(scores, 0.9)
    for n in range(1, len(scores) + 1):
        best = np.array([max(some) for some in combinations(scores, n)])
        assert found[n - 1] == pytest.approx(best.mean(), abs=1e-12)
        for quantile, share in ((low, 0.1), (high, 0.9)):
            assert quantile[n - 1] == np.quantile(best, share, method="inverted_cdf")


def test_by_hand() -> None:
    """Of 0 and 10: one trial has 5 on average, two have 10."""
    assert expected_best([0.0, 10.0]) == [5.0, 10.0]
