"""Kendall's τ-b against scipy and by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.report.papers.agreement import kendall

SCORES = st.integers(0, 5).map(float)


@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=12))
def test_it_is_scipys(pairs: list[tuple[float, float]]) -> None:
    one, other = zip(*pairs, strict=True)
    expected = stats.kendalltau(one, other).statistic
    found = kendall(one, other)
    assert (found is None) == math.isnan(expected)
    assert found is None or found == pytest.approx(expected)


def test_by_hand() -> None:
    # Of the six pairs of four, one is discordant: (5 - 1) / 6.
    assert kendall([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    assert kendall([1, 2, 3], [3, 2, 1]) == -1
    assert kendall([1, 1, 1], [1, 2, 3]) is None
    assert kendall([], []) is None
