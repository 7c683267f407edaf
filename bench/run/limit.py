"""A limit on the time that `run` takes: which cells are begun within it, by what the store knows of their pace."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from bench.errors import BenchError
from bench.spec.cell import Cell
from bench.store.job import Job
from bench.store.run import Run
from bench.store.throughput import Throughput, Throughputs, shape_key

_TIME = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNITS = (3600, 60, 1)


def read_time(text: str) -> float:
    """Return the seconds that ``9m``, ``90s``, ``1h30m`` mean.

    Raises:
        BenchError: if the text is no time above 0.
    """
    found = _TIME.fullmatch(text.strip())
    seconds = sum(int(number or 0) * unit for number, unit in zip(found.groups(), _UNITS, strict=True)) if found else 0
    if not seconds:
        raise BenchError(f"--for {text}: expected a time such as 90s, 9m or 1h30m")
    return float(seconds)


class TimeLimit:
    """Time from now on. A cell that can't end in what is left of it isn't begun.

    A cell takes as long as the store's last measurement of its kind says (see ``bench.store.throughput``), which a cell that
    ends adds to at once; one of a kind that was never measured, as long per step as the slowest kind that was. Where nothing
    was measured, every cell is begun.

    Attributes:
        seconds: of the limit.
        cells: that may be run, by id.
        refused: ids of those that weren't begun.
        stopped: ids of those that were asked to stop when the time was over.
    """

    def __init__(self, seconds: float, store: Path, cells: Mapping[str, Cell]) -> None:
        self.seconds, self.store, self.cells = seconds, store, cells
        self._end = time.monotonic() + seconds
        self._shapes: dict[str, str] = {}
        self.refused: set[str] = set()
        self.stopped: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self.left <= 0

    @property
    def left(self) -> float:
        """The seconds that are left; below 0 after the end."""
        return self._end - time.monotonic()

    def lets(self, job: Job) -> bool:
        """Return whether a job can end in the time that is left; one that can't is among `refused`."""
        needed = self._needed(job)
        fits = not self.over and (needed is None or needed <= self.left)
        if not fits:
            self.refused.add(job.cell_id)
        return fits

    def _needed(self, job: Job) -> float | None:
        """Return the seconds that a job will take; None where nothing is known of any."""
        cell = self.cells[job.cell_id]
        end = job.until or cell.schedule.iterations
        step = min(int(Run(self.store / job.cell_id).last_state().get("step") or 0), end)
        every = cell.evaluation.every
        evaluations = -(-end // every) - step // every
        pace = self._pace(job.cell_id)
        return None if pace is None else pace.takes(end - step, evaluations)

    def _pace(self, cell_id: str) -> Throughput | None:
        throughputs = Throughputs(self.store)  # read anew: a cell may have ended since
        own = throughputs.of(self._shape(cell_id))
        known = [found for i in self.cells if (found := throughputs.of(self._shape(i))) is not None]
        return own or max(known, key=lambda one: one.seconds_per_step, default=None)

    def _shape(self, cell_id: str) -> str:
        if cell_id not in self._shapes:
            self._shapes[cell_id] = shape_key(self.cells[cell_id])
        return self._shapes[cell_id]
