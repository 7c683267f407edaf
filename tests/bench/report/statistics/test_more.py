"""Power, variance components and aggregates: against other libraries, counted out, or worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from bench.report.statistics.aggregate import improvement, interquartile_mean, iqm
from bench.report.statistics.components import components
from bench.report.statistics.power import power, runs_needed
from bench.seeds import rng


def test_runs_needed_are_those_of_the_textbook() -> None:
    # An effect of one standard deviation, two-sided 5 %, power 80 %: 17 per group (Cohen 1988, table 2.4.1), 10 pairs.
    assert runs_needed(0.5, 0.5, paired=False) == 17
    assert runs_needed(0.5, 0.5, paired=True) == 10
    assert power(0.5, 0.5, 17, paired=False) == pytest.approx(0.807, abs=0.001)
    assert runs_needed(0.5, 1.22, paired=False) == 95
    assert runs_needed(0.001, 5.0, paired=True) is None


def test_power_is_the_share_of_simulated_tests_that_find_it() -> None:
    draw = rng(0, "test")
    a, b = draw.normal(0.8, 1, (20_000, 6)), draw.normal(0, 1, (20_000, 6))
    found = np.mean(stats.ttest_ind(a, b, axis=1).pvalue < 0.05)
    assert power(0.8, 1, 6, paired=False) == pytest.approx(found, abs=0.01)
    paired = np.mean(stats.ttest_1samp(a, 0, axis=1).pvalue < 0.05)
    assert power(0.8, 1, 6, paired=True) == pytest.approx(paired, abs=0.01)
    large = np.mean(stats.ttest_1samp(draw.normal(5, 1, (20_000, 3)), 0, axis=1).pvalue < 0.05)
    assert power(5, 1, 3, paired=True) == pytest.approx(large, abs=0.01)


def test_components_by_hand() -> None:
    # Rows 1, 3 and columns 0, 2, 4 added: no interaction. Mean squares: rows 6, columns 8, rest 0.
    values = {(str(i), str(j)): float(i + j) for i in (1, 3) for j in (0, 2, 4)}
    found = components(values, ("split", "init"))
    assert found is not None and (found.runs, found.mean, found.negative) == (6, 4.0, ())
    assert (found.first, found.second, found.rest) == pytest.approx(((6 / 3) ** 0.5, (8 / 2) ** 0.5, 0.0), abs=1e-9)


def test_components_are_unbiased_and_negative_ones_are_said() -> None:
    draw, found = rng(0, "test"), []
    for _ in range(300):
        table = draw.normal(0, 2, (4, 1)) + draw.normal(0, 1, (1, 5)) + draw.normal(0, 0.5, (4, 5))
        made = components({(str(i), str(j)): float(table[i, j]) for i in range(4) for j in range(5)}, ("a", "b"))
        assert made is not None
        found.append((made.first**2, made.second**2, made.rest**2))
    assert np.mean(found, axis=0) == pytest.approx([4, 1, 0.25], rel=0.15)
    one = components({("0", "0"): 0.0, ("0", "1"): 1.0, ("1", "0"): 1.0, ("1", "1"): 0.0}, ("a", "b"))
    assert one is not None and one.negative == ("a", "b") and one.first == one.second == 0.0
    assert components({("0", "0"): 1.0, ("0", "1"): 2.0}, ("a", "b")) is None  # one level
    assert components({("0", "0"): 1.0, ("0", "1"): 2.0, ("1", "0"): 2.0}, ("a", "b")) is None  # a run is missing


@pytest.mark.parametrize("n", [4, 8, 12])
def test_the_interquartile_mean_is_scipys_trimmed_mean(n: int) -> None:
    values = rng(n, "test").normal(50, 10, n)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_the_interquartile_mean_takes_fractions() -> None:
    # Of five the middle 2.5: a quarter less than a whole of the second and the fourth, and the third.
    assert interquartile_mean(np.array([100.0, 1, 2, 3, -50])) == pytest.approx((0.75 * 1 + 2 + 0.75 * 3) / 2.5)
    assert interquartile_mean(np.array([7.0])) == 7.0


def test_aggregates_are_stratified() -> None:
    value, (low, high) = iqm([[10.0, 10.0], [90.0, 90.0]])
    assert (value, low, high) == (50.0, 50.0, 50.0)  # no column's runs are drawn for another one
    value, (low, high) = iqm([list(rng(k, "test").normal(50 + k, 1, 4)) for k in range(4)])
    assert low < value < high < low + 4


def test_improvement_is_mann_whitney() -> None:
    draw = rng(0, "test")
    a, b = list(draw.normal(1, 1, 5)), list(draw.normal(0, 1, 4))
    found, (low, high) = improvement([(a, b)])
    assert found == pytest.approx(stats.mannwhitneyu(a, b).statistic / 20)
    assert found == pytest.approx(np.mean([x > y for x, y in itertools.product(a, b)]))
    assert 0 <= low <= found <= high <= 1
    assert improvement([([1.0], [1.0])])[0] == 0.5
