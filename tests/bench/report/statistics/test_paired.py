"""Statistics of pairs: against scipy, against all possibilities counted out, and worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from bench.report.statistics.paired import (
    equivalence_p,
    holm,
    sign_flip,
    sign_flip_floor,
    student,
    student_p,
    superiority,
)
from bench.seeds import rng


def test_students_interval_and_p_are_scipys() -> None:
    for n in (2, 3, 8):
        values = list(rng(n, "test").normal(0.4, 1, n))
        expected = stats.ttest_1samp(values, 0)
        assert student(values) == pytest.approx(tuple(expected.confidence_interval(0.95)))
        assert student_p(values) == pytest.approx(expected.pvalue)
    low, high = student([0.1, 0.5, 3.0])
    assert (round(low, 1), round(high, 1)) == (-2.7, 5.1)
    assert (student_p([1.0, 1.0]), student_p([0.0, 0.0])) == (0.0, 1.0)


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_sign_flips_are_scipys_permutations(n: int) -> None:
    values = rng(n, "test").normal(0.5, 1, n)
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=1000, alternative="two-sided", vectorized=False
    )
    assert sign_flip(list(values)) == pytest.approx(min(1.0, float(expected.pvalue)))
    assert sign_flip(list(values)) >= sign_flip_floor(n)


def test_three_pairs_cannot_go_below_a_quarter() -> None:
    assert sign_flip([5.0, 5.1, 4.9]) == sign_flip_floor(3) == 0.25
    assert sign_flip([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]) == sign_flip_floor(6) == 0.03125
    assert sign_flip([0.0, 0.0]) == 1.0


def test_many_pairs_are_drawn_and_agree_with_all() -> None:
    values = list(rng(1, "test").normal(0.35, 1, 17))
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=17)))
    exact = float(np.mean(np.abs(signs @ values) >= abs(sum(values)) - 1e-9))
    assert sign_flip(values) == pytest.approx(exact, abs=0.005)


def test_holm_by_hand() -> None:
    # Of four: .01 × 4, then .02 × 3 = .06, .03 × 2 = .06, .04 × 1 raised to .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_superiority_has_wilsons_interval() -> None:
    share, found = superiority([1.0, 2.0, -1.0])
    expected = stats.binomtest(2, 3).proportion_ci(0.95, method="wilson")
    assert share == pytest.approx(2 / 3) and found == pytest.approx((expected.low, expected.high))
    assert superiority([0.0, 1.0])[0] == 0.75
    assert superiority([1.0] * 3)[1] == pytest.approx(tuple(stats.binomtest(3, 3).proportion_ci(0.95, method="wilson")))


def test_equivalence_is_scipys_two_one_sided_tests() -> None:
    values = [0.2, -0.1, 0.3, 0.1]
    above = stats.ttest_1samp(values, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 1.0, alternative="less").pvalue
    assert equivalence_p(values, 1.0) == pytest.approx(max(above, below))
    assert equivalence_p([0.0], 1.0) is None
