"""The runs of a grid as records: what tables and plots are made of, and how records are grouped."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bench.class_mean import without
from bench.report.cache import load_rows
from bench.report.headline import RULES
from bench.report.model import RunScore
from bench.report.rows import one_line
from bench.store.summary import CellSummary, Coords

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_COORDS = ("dataset", "network", "method", "protocol", "labels", "seed")
_FIELDS = ("state", "reason", "step", "iterations", "evaluation", "split_sha256")
_FIELDS_OF_RECORD = ("labelled_images", "labelled_pixels", "classes", "environment", "ignore_classes")


@dataclass(frozen=True, slots=True)
class Record:
    """A planned run with its coordinates.

    Attributes:
        coords: label per axis.
        run: its state and its scores.
        labelled_images, labelled_pixels: of its split; None where the run is not done.
        classes: their names as a JSON list; empty where the run is not done.
        ignored: names of the classes that its scores leave out of the mean.
        iou: per rule the IoU of each class in % as a JSON list, null for an absent class.
        environment: what it was computed with, see :func:`bench.report.environment.parsed`; empty where unknown.
        sides: where it stands for a pair of runs, these two.
    """

    coords: Coords
    run: RunScore
    labelled_images: float | None
    labelled_pixels: float | None
    classes: str
    iou: Mapping[str, str]
    environment: str = ""
    sides: tuple[Record, ...] = ()
    ignored: tuple[str, ...] = ()

    def without_score(self, reason: str) -> Record:
        """Return the record as one whose run has yet to get the scores that are asked for, with the reason."""
        run = replace(self.run, state="pending", reason=reason, step=0.0, values=dict.fromkeys(RULES))
        return replace(self, run=run)


@dataclass(frozen=True)
class Runs:
    """A grid's runs, in its order, its axes, `seed` among them, the store they lie in, and what their values measure."""

    records: list[Record]
    axes: list[str]
    store: Path = Path()
    score: str = "mIoU"

    @property
    def named(self) -> str:
        """What the values measure, with the classes that all runs leave out of it: ``mIoU without background``.

        Where runs leave out others, each run's protocol tells.
        """
        found = {record.ignored for record in self.records if record.run.state == "done"}
        return " ".join(filter(None, [self.score, without(found.pop()) if len(found) == 1 else ""]))


def is_seed(axis: str) -> bool:
    """Tell whether an axis is a seed: its runs are those of one cell of a table, also where splits and inits are crossed."""
    return axis.partition(".")[0] in ("seed", "seeds")


def axes(cells: Iterable[CellSummary]) -> list[str]:
    """Return the names of all coordinates: those that every grid has first."""
    return list(dict.fromkeys([*_COORDS, *(name for cell in cells for name in cell.coords)]))


def coordinates(cell: CellSummary, names: Sequence[str]) -> Coords:
    """Return a cell's coordinates on the named axes: text on one line, empty where it has none; the seed a number."""
    coords: Coords = {name: one_line(str(cell.coords.get(name, ""))) for name in names}
    return {**coords, "seed": int(cell.coords["seed"])}


def load(store: Path, cells: Sequence[CellSummary], refresh: bool = False) -> Runs:
    """Return the runs of planned cells, in the grid's order.

    Args:
        store: the run store; a cell's run is the directory named by the cell's id. It need not exist.
        cells: planned cells.
        refresh: ignore the cache and read every run again.
    """
    names, rows = axes(cells), load_rows(store, (cell.id for cell in cells), refresh)
    # Column by column: a grid has 10,000 runs and more.
    scores = zip(*(rows[name].to_pylist() for name in _FIELDS), strict=True)
    rest = zip(*(rows[name].to_pylist() for name in _FIELDS_OF_RECORD), strict=True)
    mious, ious = (
        list(zip(*(rows[f"{what}_{rule}"].to_pylist() for rule in RULES), strict=True)) for what in ("miou", "iou")
    )
    records = []
    for i, (cell, score, (images, pixels, classes, environment, ignored)) in enumerate(
        zip(cells, scores, rest, strict=True)
    ):
        state, reason, step, iterations, evaluation, split = score
        coords = coordinates(cell, names)
        planned = iterations if cell.iterations is None else cell.iterations
        run = RunScore(
            id=cell.id,
            seed=int(coords["seed"]),
            state=state,
            reason=reason,
            step=step or 0.0,
            iterations=planned or 0.0,
            evaluation=evaluation,
            split=split,
            values=_by_rule(mious[i]),
        )
        iou = {rule: text for rule, text in zip(RULES, ious[i], strict=True) if text or rule in run.values}
        names_left_out = tuple(map(one_line, json.loads(ignored))) if ignored else ()
        records.append(Record(coords, run, images, pixels, classes, iou, environment, ignored=names_left_out))
    return Runs(records, names, store)


def _by_rule(mious: Sequence[float | None]) -> dict[str, float | None]:
    """Return the score of each rule that the run knows; without images held out there is no `selected`."""
    known = zip(RULES, mious, strict=True)
    return {rule: miou for rule, miou in known if miou is not None or rule != "selected"}


def group(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return the items by key, keys in order of first appearance: the grid's order."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def pick(record: Record, names: Sequence[str]) -> tuple[str, ...]:
    """Return a record's coordinates on the named axes."""
    coords = record.coords
    return tuple([str(coords[name]) for name in names])


def varying(records: Sequence[Record], names: Iterable[str]) -> list[str]:
    """Return those of the named axes on which the records differ."""
    return [name for name in names if len({record.coords[name] for record in records}) > 1]
