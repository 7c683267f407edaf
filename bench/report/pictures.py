"""Which runs and which images a qualitative figure shows, by rules that anyone can repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.arrays import UInt8, spread
from bench.errors import BenchError, unknown
from bench.report.metrics import Margins, of_images
from bench.report.records import is_seed
from bench.store.confusion import Confusion, ImageCounts
from bench.store.summary import CellSummary

_BESIDE = ("method", "network")  # what the runs of one figure differ in


Pick = Literal["spread", "first", "best", "worst"]


def beside(cells: Sequence[CellSummary], methods: Sequence[str] | None, done: Mapping[str, bool]) -> list[CellSummary]:
    """Return one cell per method, all of one split and seed: those of the first split and seed at which all are done.

    Args:
        cells: a grid's, in its order.
        methods: labels, in the order of the figure; None takes all of the grid.
        done: whether a run is done, by id.

    Raises:
        BenchError: for an unknown method, where a method has several such cells, or no split has them all done.
    """
    known = list(dict.fromkeys(str(cell.coords["method"]) for cell in cells))
    wanted = known if methods is None else list(methods)
    for name in wanted:
        if name not in known:
            raise unknown("method of --methods", name, known)
    groups: dict[tuple[tuple[str, str], ...], dict[str, list[CellSummary]]] = {}
    for cell in cells:
        key = tuple((axis, str(value)) for axis, value in sorted(cell.coords.items()) if axis not in _BESIDE)
        groups.setdefault(key, {}).setdefault(str(cell.coords["method"]), []).append(cell)
    for group in groups.values():
        if all(any(done[cell.id] for cell in group.get(name, [])) for name in wanted):
            for name in wanted:
                if len(group[name]) > 1:
                    raise BenchError(
                        f"method '{name}' has {len(group[name])} runs of one split and seed; choose with --only"
                    )
            return [group[name][0] for name in wanted]
    raise BenchError(
        f"no split and seed has runs of {', '.join(wanted)} that are all done; fewer by --methods, or --only"
    )


def of_each_budget(cells: Sequence[CellSummary], drawable: Mapping[str, bool]) -> list[CellSummary]:
    """Return cells of one split and seed for each label budget, and any other axis: that at which most can be drawn.

    Args:
        cells: a grid's, in its order.
        drawable: whether a run can be drawn, by id.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[tuple[str, ...], list[CellSummary]]] = {}
    for cell in cells:
        axes = [axis for axis in sorted(cell.coords) if axis not in _BESIDE]
        budget = tuple((axis, str(cell.coords[axis])) for axis in axes if not is_seed(axis))
        seeds = tuple(str(cell.coords[axis]) for axis in axes if is_seed(axis))
        found = groups.setdefault(budget, {}).setdefault(seeds, [])
        if drawable[cell.id]:
            found.append(cell)
    return [cell for by_seed in groups.values() for cell in max(by_seed.values(), key=len)]


def image_score(truth: UInt8, predicted: UInt8, classes: int) -> float | None:
    """Return the mean IoU in % of one image (H, W) over the classes that occur in it; None where all of it is void."""
    valid = truth < classes
    cells = truth[valid].astype(np.int64) * classes + predicted[valid]
    matrix = np.bincount(cells, minlength=classes * classes).reshape(1, classes, classes)
    return of_images(Margins.of(ImageCounts.of(matrix)))[0]


def _scores(kept: Confusion) -> NDArray[np.float64]:
    """Return each image's mean IoU; NaN for one that is void."""
    return np.array([np.nan if value is None else value for value in of_images(Margins.of(kept.images))])


def choose(kept: Sequence[Confusion], pick: Pick, count: int) -> list[int]:
    """Return the places of the images that are shown.

    Args:
        kept: of each run, in the order of the figure, all of the same images.
        pick: `first`; `spread` evenly over the split; those on which the last run is `best`, or `worst`, beside the first
            run, by the difference of the image's mean IoU (ties by place).
        count: how many images.

    Raises:
        BenchError: if a difference needs two runs.
    """
    total = len(kept[0].ids)
    count = min(count, total)
    if pick == "first":
        return list(range(count))
    if pick == "spread":
        return spread(total, count)
    if len(kept) < 2:
        raise BenchError(f"--pick {pick}: compares the last run with the first; one run has nothing beside it")
    gain = _scores(kept[-1]) - _scores(kept[0])
    if pick == "best":
        gain = -gain
    return [int(i) for i in np.argsort(gain, kind="stable")[:count]]  # NaN last
