"""Whether measured runs reproduce a published figure: two one-sided t tests (TOST) against a stated margin.

Source: Schuirmann, "A comparison of the two one-sided tests procedure and the power approach for assessing the equivalence
of average bioavailability", 1987. A mean that is merely *not shown to differ* is no
reproduction: the noisier the runs, the more such means there would be. So equivalence must be shown, and noise never helps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05  # of each of the two one-sided tests, and of the two-sided one


@dataclass(frozen=True)
class Comparison:
    """The mean of runs against a published figure, in mIoU.

    Attributes:
        difference: measured − published.
        low, high: its two-sided 95 % interval; None with a single run, whose spread is unknown.
        p: the larger one of the two one-sided tests: equivalent where it is at most :data:`LEVEL`; None as above.
        margin: the largest difference that counts as none.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    margin: float

    @property
    def equivalent(self) -> bool:
        """Whether the difference is shown to lie within the margin."""
        return self.p is not None and self.p <= LEVEL

    @property
    def differs(self) -> bool:
        """Whether the difference is shown to be one, and isn't shown to lie within the margin."""
        return not self.equivalent and self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def _spread(values: Sequence[float], sd: float | None, n: int | None) -> tuple[float, int]:
    """Return the standard error of the difference and its degrees of freedom.

    A figure without a deviation and a number of runs counts as exact: nothing is known of its spread. Where it has both,
    variances are added as Welch does, and the degrees of freedom are the smaller side's: his own number is never smaller,
    but grows while the smaller variance does, so that noise could help.
    """
    count = len(values)
    mean = math.fsum(values) / count
    variance, df = math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count, count - 1
    if sd is not None and n is not None and n > 1:
        variance, df = variance + sd**2 / n, min(df, n - 1)
    return math.sqrt(variance), df


def compare(
    values: Sequence[float], published: float, margin: float, sd: float | None = None, n: int | None = None
) -> Comparison:
    """Return how runs compare with a published figure.

    Args:
        values: at least one run's mIoU.
        published: the figure, with the sample standard deviation `sd` over its `n` runs where they are printed.
        margin: in mIoU, above 0.
    """
    difference = math.fsum(values) / len(values) - published
    if len(values) < 2:
        return Comparison(difference, None, None, None, margin)
    from scipy.special import stdtr, stdtrit  # of Student's t: the distribution function and its inverse

    error, df = _spread(values, sd, n)
    if error == 0:  # all runs agree to the last bit
        return Comparison(difference, difference, difference, float(abs(difference) >= margin), margin)
    reach = float(stdtrit(df, 1 - LEVEL / 2)) * error
    p = max(float(stdtr(df, -(margin + side * difference) / error)) for side in (1, -1))
    return Comparison(difference, difference - reach, difference + reach, p, margin)
