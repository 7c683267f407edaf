"""How long cells take: throughputs that runs and ``speed`` keep in the store, and the hours that a grid will need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from bench.files import read_json, write_json
from bench.spec.cell import Cell, canonical


@dataclass(frozen=True)
class Throughput:
    """How fast a cell's shape is on some hardware.

    Attributes:
        seconds_per_step: of training, without evaluations.
        seconds_per_evaluation: of one evaluation on the whole evaluation split.
        hardware: device and CPU threads, e.g. ``AMD EPYC, 2 threads``.
        source: the run that it comes from, or ``speed``.
    """

    seconds_per_step: float
    seconds_per_evaluation: float
    hardware: str
    source: str

    def seconds(self, cell: Cell) -> float:
        """Return how long a cell of this shape takes from its first step to its last evaluation."""
        return self.takes(cell.schedule.iterations, evaluations(cell))

    def takes(self, iterations: int, evaluations: int) -> float:
        """Return how long so many iterations and evaluations take."""
        return iterations * self.seconds_per_step + evaluations * self.seconds_per_evaluation


def evaluations(cell: Cell) -> int:
    """Return how often a cell is evaluated: every so many steps, and at the end."""
    return -(-cell.schedule.iterations // cell.evaluation.every)


def shape_key(cell: Cell) -> str:
    """Return a hash of all that decides how long a step and an evaluation take; cells that share it share a throughput."""
    cell = cell.from_scratch()
    parts = {key: getattr(cell, key).identity() for key in ("dataset", "method", "network", "augmentation", "numerics")}
    schedule = cell.schedule.model_dump(mode="json", include={"batch", "accumulate"})
    evaluation = cell.evaluation.model_dump(mode="json", include={"mode", "size", "stride"})
    text = canonical({**parts, "schedule": schedule, "evaluation": evaluation})
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _folder(store: Path) -> Path:
    return store / ".cache" / "pace"


def keep(store: Path, cell: Cell, throughput: Throughput) -> None:
    """Keep a throughput in the store, one for each shape and hardware: the last one."""
    _folder(store).mkdir(parents=True, exist_ok=True)
    hardware = hashlib.sha256(throughput.hardware.encode()).hexdigest()[:8]
    write_json(_folder(store) / f"{shape_key(cell)}-{hardware}.json", asdict(throughput))


class Throughputs:
    """The throughputs that a store knows."""

    def __init__(self, store: Path) -> None:
        self._files: dict[str, list[Path]] = {}
        for path in sorted(_folder(store).glob("*.json"), key=lambda p: p.stat().st_mtime):
            self._files.setdefault(path.name.split("-")[0], []).append(path)
        self._read: dict[str, Throughput | None] = {}

    def of(self, shape: str) -> Throughput | None:
        """Return the throughput of a shape (see :func:`shape_key`) that was measured last; None where none was."""
        if shape not in self._read:
            self._read[shape] = _read_pace(self._files[shape][-1]) if shape in self._files else None
        return self._read[shape]


def _read_pace(path: Path) -> Throughput | None:
    """Read a kept throughput; one that is damaged, or of another version, counts as missing."""
    try:
        return Throughput(**read_json(path))
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Work:
    """Cells that take equally long.

    Attributes:
        shape: see :func:`shape_key`.
        iterations, evaluations: of one of them.
        cells: their number.
    """

    shape: str
    iterations: int
    evaluations: int
    cells: int


def workload(cells: Iterable[Cell]) -> list[Work]:
    """Return the work that cells are: those alike are brought together before anything is hashed."""
    alike: dict[Any, list[Cell]] = {}
    pick = attrgetter("dataset", "method", "network", "augmentation", "numerics", "schedule", "evaluation")
    for cell in cells:
        alike.setdefault(pick(cell), []).append(cell)
    groups = [(same[0], len(same)) for same in alike.values()]
    return [Work(shape_key(one), one.schedule.iterations, evaluations(one), count) for one, count in groups]


@dataclass(frozen=True)
class Projection:
    """The time that cells will take, one after the other.

    Attributes:
        seconds: of all cells whose throughput is known.
        cells: their number.
        unknown: number of cells whose throughput isn't known.
        hardware: what the known throughputs were measured on.
    """

    seconds: float
    cells: int
    unknown: int
    hardware: tuple[str, ...]


def project(cells: Iterable[Cell], store: Path) -> Projection:
    """Return how long cells will take by the throughputs of the store."""
    return project_work(workload(cells), store)


def project_work(work: Iterable[Work], store: Path) -> Projection:
    """Do what :func:`project` does for work whose cells needn't be at hand, as it is in a grid's summary."""
    throughputs, seconds, known, unknown, hardware = Throughputs(store), 0.0, 0, 0, set[str]()
    for one in work:
        throughput = throughputs.of(one.shape)
        if throughput is None:
            unknown += one.cells
        else:
            known += one.cells
            seconds += one.cells * throughput.takes(one.iterations, one.evaluations)
            hardware.add(throughput.hardware)
    return Projection(seconds, known, unknown, tuple(sorted(hardware)))
