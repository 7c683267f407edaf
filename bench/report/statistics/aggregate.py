"""One number per method over several columns: the interquartile mean, and how often one method beats another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.report.statistics.paired import LEVEL, Floats, Interval
from bench.seeds import rng

RESAMPLES = 2_000


def interquartile_mean(values: Floats) -> Floats:
    """Return the mean of the middle half of values (…, n), with fractions of the two at its ends.

    Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021; fractions
    make it the trimmed mean of 25 % exactly, where n isn't a multiple of four.
    """
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    edges = np.clip(np.arange(n + 1), n / 4, 3 * n / 4)
    return np.asarray((ordered * np.diff(edges)).sum(-1) / (n / 2))


def iqm(columns: Sequence[Sequence[float]]) -> tuple[float, Interval]:
    """Return the interquartile mean over the runs of all columns, and its 95 % interval.

    The interval is a percentile bootstrap, stratified: each column's runs are drawn from that column. Its draws have a
    fixed seed.

    Args:
        columns: the scores of each column's runs, at least one.
    """
    groups = [np.asarray(column, dtype=np.float64) for column in columns]
    draw = rng(0, "interquartile mean", *(len(group) for group in groups))
    drawn = [group[draw.integers(0, len(group), (RESAMPLES, len(group)))] for group in groups]
    found = interquartile_mean(np.concatenate(drawn, axis=1))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(interquartile_mean(np.concatenate(groups))), (float(low), float(high))


def improvement(columns: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, Interval]:
    """Return the probability that a run of A is above one of B, mean over columns, and its 95 % interval.

    Per column the Mann–Whitney statistic over all pairs of runs, ties half. The interval is stratified as that of
    :func:`iqm`. Source: Agarwal et al., 2021.

    Args:
        columns: per column the scores of A's runs and of B's, at least one each.
    """
    arrays = [(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)) for a, b in columns]
    draw = rng(0, "probability of improvement", *(len(side) for pair in arrays for side in pair))
    found, value = np.zeros(RESAMPLES), 0.0
    for a, b in arrays:
        value += float(_above(a[None], b[None])[0]) / len(arrays)
        picked = (side[draw.integers(0, len(side), (RESAMPLES, len(side)))] for side in (a, b))
        found += _above(*picked) / len(arrays)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value, (float(low), float(high))


def _above(a: Floats, b: Floats) -> Floats:
    """Return the share of pairs (a, b) in which a is above, ties half, for each row of (R, n) and (R, m)."""
    difference = a[:, :, None] - b[:, None, :]
    above = np.sum(difference > 0, axis=(1, 2)) + np.sum(difference == 0, axis=(1, 2)) / 2
    return np.asarray(above / (a.shape[1] * b.shape[1]), dtype=np.float64)
