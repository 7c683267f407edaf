"""Kendall's τ-b by hand."""

from __future__ import annotations

import pytest

from bench.report.papers.notes import kendall


def test_by_hand() -> None:
    # Of the six pairs of four, one is discordant: (5 - 1) / 6.
    assert kendall([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    assert kendall([1, 2, 3], [3, 2, 1]) == -1
    # The same pair is tied in both lists: the other five are concordant, and each list tells five apart.
    assert kendall([1, 1, 2, 3], [1, 1, 2, 3]) == pytest.approx(1)
    # One pair is tied in the first list alone: two are concordant, and the lists tell two and three apart.
    assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / 6**0.5)
    assert kendall([1, 1, 1], [1, 2, 3]) is None
    assert kendall([], []) is None
