"""Power, variance components and aggregates: against other libraries, counted out, or worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from bench.report.statistics.aggregate import RESAMPLES, improvement, interquartile_mean, iqm
from bench.report.statistics.components import components
from bench.report.statistics.power import MOST_RUNS, power, runs_needed
from bench.seeds import rng


def test_runs_needed_are_those_of_the_textbook() -> None:
    # An effect of one standard deviation, two-sided 5 %, power 80 %: 17 per group (Cohen 1988, table 2.4.1), 10 pairs.
    assert runs_needed(0.5, 0.5, paired=False) == 17
    assert runs_needed(0.5, 0.5, paired=True) == 10
    assert power(0.5, 0.5, 17, paired=False) == pytest.approx(0.807, abs=0.001)
    assert runs_needed(0.5, 1.22, paired=False) == 95
    assert runs_needed(0.001, 5.0, paired=True) is None


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("effect", [0.45, 0.8, 1.3, 3.0, 40.0])
def test_no_fewer_runs_than_needed_have_the_power(effect: float, paired: bool) -> None:
    runs = runs_needed(effect, 1.0, paired)
    assert runs is not None and runs == next(n for n in range(2, 500) if by_quadrature(effect, n, paired) >= 0.8)


def by_quadrature(effect: float, runs: int, paired: bool) -> float:
    """Return the power of a t test, the variance's distribution integrated by the midpoint rule."""
    df = runs - 1 if paired else 2 * (runs - 1)
    shift, bound = effect * (runs / (1 if paired else 2)) ** 0.5, stats.t.ppf(0.975, df)
    spread = np.sqrt(stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, df) / df)
    return float(np.mean(stats.norm.sf(bound * spread - shift) + stats.norm.cdf(-bound * spread - shift)))


def test_so_many_runs_are_not_asked_for() -> None:
    most = next(n for n in itertools.count(9_000) if power(0.028, 1.0, n, paired=True) >= 0.8)
    assert runs_needed(0.028, 1.0, paired=True) is None and most > MOST_RUNS  # powers of two end at 8192
    assert runs_needed(0.032, 1.0, paired=True) == next(
        n for n in itertools.count(4_097) if power(0.032, 1.0, n, paired=True) >= 0.8
    )


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


def test_the_interval_of_the_interquartile_mean_is_the_bootstraps_by_hand() -> None:
    columns = [list(rng(k, "test").normal(50 + 3 * k, 2, 3 + k)) for k in range(3)]
    draw = rng(0, "interquartile mean", 3, 4, 5)  # the draws are fixed, and differ with the numbers of runs
    picked = [draw.integers(0, len(column), (RESAMPLES, len(column))) for column in columns]
    found = [
        stats.trim_mean([column[i] for column, rows in zip(columns, picked, strict=True) for i in rows[k]], 0.25)
        for k in range(RESAMPLES)
    ]
    value, (low, high) = iqm(columns)
    assert value == pytest.approx(stats.trim_mean(list(itertools.chain(*columns)), 0.25))
    assert (low, high) == pytest.approx(np.percentile(found, (2.5, 97.5)), abs=1e-12)


def test_the_interval_of_the_improvement_is_the_bootstraps_by_hand() -> None:
    sizes = ((3, 2), (2, 3), (2, 2))
    draw = rng(1, "test")
    columns = [
        ([float(x) for x in draw.integers(0, 6, n)], [float(x) for x in draw.integers(0, 5, m)]) for n, m in sizes
    ]
    again = rng(0, "probability of improvement", *itertools.chain(*sizes))
    picked = [[again.integers(0, n, (RESAMPLES, n)) for n in pair] for pair in sizes]

    def share(a: list[float], b: list[float]) -> float:
        return float(stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False).statistic) / (len(a) * len(b))

    known = {(k, x, y): share(list(x), list(y)) for k, (a, b) in enumerate(columns)
             for x in itertools.product(a, repeat=len(a)) for y in itertools.product(b, repeat=len(b))}  # fmt: skip
    found = [
        np.mean([
            known[k, tuple(a[i] for i in rows[0][r]), tuple(b[i] for i in rows[1][r])]
            for k, ((a, b), rows) in enumerate(zip(columns, picked, strict=True))
        ])
        for r in range(RESAMPLES)
    ]  # fmt: skip
    value, (low, high) = improvement(columns)
    assert value == pytest.approx(np.mean([share(a, b) for a, b in columns]))
    assert (low, high) == pytest.approx(np.percentile(found, (2.5, 97.5)), abs=1e-12)


def test_improvement_is_mann_whitney() -> None:
    draw = rng(0, "test")
    a, b = list(draw.normal(1, 1, 5)), list(draw.normal(0, 1, 4))
    found, (low, high) = improvement([(a, b)])
    assert found == pytest.approx(stats.mannwhitneyu(a, b).statistic / 20)
    assert found == pytest.approx(np.mean([x > y for x, y in itertools.product(a, b)]))
    assert 0 <= low <= found <= high <= 1
    assert improvement([([1.0], [1.0])])[0] == 0.5
