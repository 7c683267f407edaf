"""Ranks of methods: against scipy, and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.report.statistics.ranks import rank
from bench.seeds import rng


def test_ranks_and_friedman() -> None:
    # Rows: blocks; b is best, a second (tied once with c), c last.
    scores = np.array([[50.0, 60, 40], [51, 61, 51], [52, 62, 42], [53, 63, 43]])
    found = rank(["a", "b", "c"], scores)
    assert found.methods == ("b", "a", "c") and found.blocks == 4
    assert found.mean == pytest.approx((1.0, (2 + 2.5 + 2 + 2) / 4, (3 + 2.5 + 3 + 3) / 4))
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    assert found.alike == ((0, 2),)  # four blocks tell nothing apart


def test_many_blocks_tell_methods_apart_and_neighbours_are_joined() -> None:
    draw = rng(0, "test")
    base = draw.normal(0, 5, (30, 1))
    scores = base + draw.normal(0, 1, (30, 4)) + np.array([0.0, 0.1, 3.0, 3.1])
    found = rank(["a", "b", "c", "d"], scores)
    assert {found.methods[:2], found.methods[2:]} <= {("c", "d"), ("d", "c"), ("a", "b"), ("b", "a")}
    assert found.alike == ((0, 1), (2, 3))
    same = rank(["a", "b"], np.ones((8, 2)))
    assert (same.mean, same.friedman, same.alike) == ((1.5, 1.5), None, ((0, 1),))
