"""The interval over seeds and images, from the matrices that runs have kept of their evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from bench.errors import BenchError
from bench.report.statistics.images import Parts, interval
from bench.report.statistics.paired import Interval
from bench.store.confusion import read_confusion
from bench.store.evaluations import own_ignored
from bench.store.run import Run


@lru_cache(maxsize=256)
def _kept(store: Path, run_id: str, which: str) -> tuple[tuple[str, ...], Parts] | None:
    """Return the images of a run's evaluation and its parts; None where they aren't kept or can't be read."""
    try:
        found, ignored = read_confusion(run := Run(store / run_id), which), own_ignored(run)
    except BenchError:
        return None
    return None if found is None else (found.ids, Parts.of(found.matrices(), ignored))


def between(
    store: Path, pairs: Sequence[tuple[str, str]], which: str, members: Sequence[Sequence[int]] | None = None
) -> Interval | None:
    """Return the 95 % interval of a difference of mIoU over seeds and images.

    Args:
        store: the run store.
        pairs: ids of runs A and B, one pair per seed.
        which: the evaluation: `last`, `best`.
        members: per seed that is drawn the places of its pairs; by default one each.

    Returns:
        None where a run has kept no matrices, or not all runs were scored on the same images.
    """
    found = [tuple(_kept(store, run_id, which) for run_id in pair) for pair in pairs]
    known = [(a, b) for a, b in found if a is not None and b is not None]
    if not known or len(known) < len(found) or len({side[0] for pair in known for side in pair}) > 1:
        return None
    return interval([(a[1], b[1]) for a, b in known], members=members)
