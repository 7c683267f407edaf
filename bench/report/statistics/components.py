"""Where variance comes from: splits and initialisations crossed, two-way random effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Components:
    """Standard deviations, in mIoU, of two crossed factors with one run per combination.

    Attributes:
        first, second: of each factor; 0 where the estimate of its variance is negative.
        rest: of their interaction and of everything else, which one run per combination can't tell apart.
        negative: the factors whose estimate is negative, which says that their share is too small to see.
        mean: of all runs.
        runs: their number.
    """

    first: float
    second: float
    rest: float
    negative: tuple[str, ...]
    mean: float
    runs: int


def components(values: Mapping[tuple[str, str], float], names: tuple[str, str]) -> Components | None:
    """Return the variance components of runs that cross two factors completely; None below two levels of one.

    The estimators of the analysis of variance: of mean squares A (first factor, a levels), B (second, b levels) and E (rest)
    the variances are (A − E) / b, (B − E) / a and E. Source: Searle, Casella and McCulloch, Variance Components, 1992, §4.4.

    Args:
        values: score by (level of the first factor, level of the second one).
        names: of the factors.
    """
    firsts, seconds = (list(dict.fromkeys(key[place] for key in values)) for place in (0, 1))
    a, b = len(firsts), len(seconds)
    if min(a, b) < 2 or len(values) < a * b:
        return None
    table = np.array([[values[one, other] for other in seconds] for one in firsts])
    mean, rows, columns = table.mean(), table.mean(1), table.mean(0)
    of_first = b * float(((rows - mean) ** 2).sum()) / (a - 1)
    of_second = a * float(((columns - mean) ** 2).sum()) / (b - 1)
    of_rest = float(((table - rows[:, None] - columns[None, :] + mean) ** 2).sum()) / ((a - 1) * (b - 1))
    variances = (of_first - of_rest) / b, (of_second - of_rest) / a
    negative = tuple(name for name, variance in zip(names, variances, strict=True) if variance < 0)
    first, second = (max(variance, 0.0) ** 0.5 for variance in variances)
    return Components(first, second, of_rest**0.5, negative, float(mean), a * b)
