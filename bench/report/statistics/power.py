"""How many runs a difference takes: the power of Student's t test, exactly."""

from __future__ import annotations

import math

ALPHA = 0.05
WANTED = 0.80
MOST_RUNS = 10_000
# Source: three runs at one split of two public repositories, 513 logs: standard deviation of the last evaluation pooled.
PRIOR_SD = 0.50


def power(difference: float, sd: float, runs: int, paired: bool) -> float:
    """Return the probability that a two-sided t test at 5 % finds a difference.

    Args:
        difference: the true one, in mIoU.
        sd: standard deviation, of the runs of one arm, or of the differences of pairs where `paired`; above 0.
        runs: per arm, at least 2.
        paired: a test of the differences of pairs, else one of two arms of equal spread.
    """
    from scipy.special import nctdtr, stdtrit

    df = runs - 1 if paired else 2 * (runs - 1)
    shift = difference / (sd * math.sqrt((1 if paired else 2) / runs))
    bound = float(stdtrit(df, 1 - ALPHA / 2))
    # Where the noncentral distribution function is too small to be computed, it is given as NaN.
    below, above = (0.0 if math.isnan(tail) else tail for tail in map(float, nctdtr(df, shift, (-bound, bound))))
    return 1 - above + below


def runs_needed(difference: float, sd: float, paired: bool) -> int | None:
    """Return the least number of runs per arm with a power of 80 %; None above :data:`MOST_RUNS`."""
    low, high = 1, 2
    while power(difference, sd, high, paired) < WANTED:
        low, high = high, 2 * high
        if high > MOST_RUNS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, sd, middle, paired) >= WANTED else (middle, high)
    return high
