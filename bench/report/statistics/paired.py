"""Statistics of paired differences: Student's interval, sign flips, Holm's correction, superiority, equivalence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.report.papers.equivalence import compare
from bench.seeds import rng

LEVEL = 0.95
ALL_SIGNS_UP_TO = 16  # pairs: 65,536 ways to turn their signs
DRAWN_SIGNS = 100_000

Interval = tuple[float, float]
Floats = NDArray[np.float64]


def student(values: Sequence[float]) -> Interval:
    """Return Student's 95 % interval of the mean of at least two values."""
    from scipy.special import stdtrit

    n, mean = len(values), float(np.mean(values))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def student_p(values: Sequence[float]) -> float:
    """Return the two-sided p of Student's t test that the mean of at least two values is 0."""
    from scipy.special import stdtr

    n, mean, sd = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    if sd == 0:  # all pairs agree to the last bit
        return float(mean == 0)
    return 2 * float(stdtr(n - 1, -abs(mean) / (sd / math.sqrt(n))))


def sign_flip(values: Sequence[float]) -> float:
    """Return the two-sided p of the sign-flip test that differences of pairs are as likely above 0 as below.

    The share of all ways to give the differences signs whose mean is at least as far from 0 as the one that was found; of
    more than :data:`ALL_SIGNS_UP_TO` pairs a sample of them, drawn with a fixed seed. Source: Fisher, The Design of
    Experiments, 1935, §21.
    """
    found, n = np.asarray(values, dtype=np.float64), len(values)
    if n <= ALL_SIGNS_UP_TO:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=n)))
        return float(np.mean(_as_far(signs @ found, found)))
    signs = rng(0, "sign flips", n).choice((-1.0, 1.0), size=(DRAWN_SIGNS, n))
    return float((1 + np.sum(_as_far(signs @ found, found))) / (1 + DRAWN_SIGNS))


def _as_far(sums: Floats, found: Floats) -> NDArray[np.bool_]:
    # The last bit of a sum must not decide.
    return np.asarray(np.abs(sums) >= abs(found.sum()) * (1 - 1e-12) - 1e-12)


def sign_flip_floor(n: int) -> float:
    """Return the least p that the sign-flip test of n pairs can give, whatever they are: three can't go below 0.25."""
    return 2.0 ** (1 - n) if n <= ALL_SIGNS_UP_TO else 1 / (1 + DRAWN_SIGNS)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values corrected for their number, in their order; each true hypothesis is rejected with at most the level.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def superiority(values: Sequence[float]) -> tuple[float, Interval]:
    """Return P(A > B), the share of pairs in which A is above B (ties count half), and Wilson's 95 % interval of it.

    Source: Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021, who take a P(A > B)
    above 0.75 for a meaningful improvement; Wilson, 1927.

    Args:
        values: differences A − B of at least one pair.
    """
    from scipy.special import ndtri

    n = len(values)
    share = sum(1.0 if value > 0 else 0.5 if value == 0 else 0.0 for value in values) / n
    z = float(ndtri((1 + LEVEL) / 2))
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return share, (max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n)))


def equivalence_p(values: Sequence[float], margin: float) -> float | None:
    """Return the p of two one-sided t tests that the mean difference lies within ± margin; None below two pairs."""
    return compare(values, 0.0, margin).p
