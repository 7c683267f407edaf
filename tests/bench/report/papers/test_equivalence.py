"""Two one-sided tests by hand, against scipy's own t tests, and their error rate in a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.report.papers.equivalence import compare


def test_by_hand() -> None:
    # Mean 50.2, sd 0.2, standard error 0.2/√3 = 0.11547; t(2) has its 97.5 % point at 4.30265.
    found = compare([50.0, 50.2, 50.4], 50.0, 1.0)
    assert found.difference == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - 4.30265 * 0.11547, abs=1e-4)
    assert found.high == pytest.approx(0.2 + 4.30265 * 0.11547, abs=1e-4)
    # The larger one: t = (1 − 0.2)/0.11547 = 6.9282. Of two degrees of freedom P(T > t) = (1 − t/√(2 + t²))/2 = 0.01010.
    assert found.p == pytest.approx((1 - 6.9282 / (2 + 6.9282**2) ** 0.5) / 2, abs=1e-6)
    assert found.equivalent and not found.differs


@pytest.mark.parametrize(("sd", "n"), [(None, None), (0.5, None), (None, 3), (0.8, 5), (0.1, 2)])
@pytest.mark.parametrize("values", [[50.0, 51.0, 50.3], [48.0, 48.1, 48.3, 48.2], [30.0, 60.0]])
def test_against_scipy(values: list[float], sd: float | None, n: int | None) -> None:
    """The one-sided tests are those that scipy makes of samples moved by the margin."""
    margin, published = 1.0, 50.0
    df = len(values) - 1 if sd is None or n is None else min(len(values), n) - 1

    def t(shift: float) -> float:
        moved = np.asarray(values) + shift
        if sd is None or n is None:
            return float(stats.ttest_1samp(moved, published).statistic)
        one = (float(np.mean(moved)), float(np.std(values, ddof=1)), len(values))
        return float(stats.ttest_ind_from_stats(*one, published, sd, n, equal_var=False).statistic)

    found = compare(values, published, margin, sd, n)
    assert found.p == pytest.approx(max(stats.t.sf(t(margin), df), stats.t.cdf(t(-margin), df)), rel=1e-9)
    two_sided = 2 * stats.t.sf(abs(t(0.0)), df)
    assert found.low is not None and found.high is not None
    assert (found.low <= 0 <= found.high) == (two_sided > 0.05)


def test_a_single_run_and_runs_that_agree_to_the_bit() -> None:
    lone = compare([50.0], 50.0, 1.0)
    assert lone.p is None and not lone.equivalent and not lone.differs
    assert compare([50.5, 50.5], 50.0, 1.0).equivalent
    assert compare([51.5, 51.5], 50.0, 1.0).differs
    assert not compare([51.0, 51.0], 50.0, 1.0).equivalent  # on the margin is not within it


def test_error_rate_where_the_truth_is_on_the_margin() -> None:
    """Of runs whose true mean is a whole margin away, at most 5 % may pass as reproduced."""
    drawn = np.random.default_rng(0).normal(51.0, 0.4, size=(2000, 5))
    passed = sum(compare(list(map(float, row)), 50.0, 1.0).equivalent for row in drawn)
    assert 0.04 * 2000 <= passed <= 0.06 * 2000  # binomial: 100 ± 10


def test_a_larger_spread_never_helps_on_either_side() -> None:
    """Welch's degrees of freedom would: of (50.0, 50.2, 50.4), p falls from .010 to .004 as the figure's sd grows to .2."""
    spreads = (0.0, 0.05, 0.1, 0.2, 0.4, 1.0, 5.0)
    figure = [compare([50.0, 50.2, 50.4], 50.0, 1.0, sd, 3).p or 0.0 for sd in spreads]
    runs = [compare([50.2 - sd, 50.2, 50.2 + sd], 50.0, 1.0, 0.3, 3).p or 0.0 for sd in spreads]
    assert figure == sorted(figure) and runs == sorted(runs)
