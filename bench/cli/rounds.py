"""The rounds of ``run``: one for an ordinary grid; of a tuned one, trials rung by rung, then cells with their settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench import machine
from bench.cli.options import matching
from bench.cli.progress import GridProgress
from bench.plan.jobs import make_jobs
from bench.plan.leaving import waiting
from bench.run.local import run_local
from bench.store.run import State
from bench.store.threads import with_threads

if TYPE_CHECKING:
    from rich.console import Console

    from bench.plan.cells import Plan, PlannedCell
    from bench.plan.request import Request
    from bench.store.job import Job


class Rounds:
    """Runs what can run, again and again, until nothing new can.

    Attributes:
        states: of the cells that ran, by id.
        trials: ids of those that are trials.
        cells, done: how many cells were asked for, and how many of them were done before.
        waiting: a line for each setting that couldn't be chosen.
    """

    def __init__(self, request: Request, workers: int, retry: bool, out: Console) -> None:
        self.request, self._workers, self._retry, self._out = request, workers, retry, out
        self.states: dict[str, State] = {}
        self.trials: set[str] = set()
        self.cells = self.done = 0
        self.waiting: list[str] = []
        self._tried: set[tuple[str, int | None]] = set()

    def run(self, planned: Plan, cells: Sequence[PlannedCell]) -> bool:
        """Run cells that weren't run yet; return whether another round may have more to do.

        Raises:
            Interrupted: after Ctrl-C, TERM or HUP.
        """
        self.trials |= {trial.cell.id for trial in planned.trials}
        jobs, done = make_jobs(planned, cells, self.request, self._retry)
        if not self._tried:
            self.cells, self.done = len(cells), done
            if done:
                self._out.print(f"{done} of {len(cells)} cells are done already")
        jobs = [job for job in jobs if (job.cell_id, job.until) not in self._tried]
        self.waiting = waiting(planned)
        if not jobs:
            return False
        self._tried |= {(job.cell_id, job.until) for job in jobs}
        sizes = {c.cell.id: c.until or c.cell.schedule.iterations for c in cells}
        if planned.tuned is not None:
            self._out.print(_said(planned, jobs, self.trials))
        jobs = self._with_threads(jobs, planned)
        with GridProgress(self.request.store, {j.cell_id: sizes[j.cell_id] for j in jobs}, self._out) as progress:
            self.states |= run_local(jobs, min(self._workers, len(jobs)), progress.show)
        return planned.tuned is not None

    def _with_threads(self, jobs: list[Job], planned: Plan) -> list[Job]:
        """Give jobs the grid's number of threads; say where workers, taken together, have more threads than cores."""
        ids = (cell.cell.id for cell in [*planned.trials, *planned.cells])
        jobs = with_threads(jobs, planned.name, ids, machine.default_threads(planned.grid.resources.device))
        workers, cores = min(self._workers, len(jobs)), machine.usable_cores()
        threads = jobs[0].resources["threads"] if jobs else 0
        if workers > 1 and workers * threads > cores:
            self._out.print(
                f"{workers} workers × {threads} threads on {cores} cores: `resources.threads: {max(cores // workers, 1)}` "
                "is faster; it decides rounding, so set it before the grid's first run, not in the middle"
            )
        return jobs


def runnable(planned: Plan, only: str | None) -> list[PlannedCell]:
    """Return the cells that can run now, of those that ``--only`` names among all cells and trials of a grid.

    Raises:
        BenchError: if it names none.
    """
    named = matching([*planned.trials, *planned.cells], lambda c: c.coords, only, lambda c: c.cell)
    ids = {one.cell.id for one in named}
    return [one for one in planned.runnable() if one.cell.id in ids]


def _said(planned: Plan, jobs: Sequence[Job], trials: set[str]) -> str:
    """Return in words what a round of a tuned grid runs."""
    of_trials = [job for job in jobs if job.cell_id in trials]
    rungs = sorted({job.until for job in of_trials if job.until is not None})
    words = (
        [f"{len(of_trials)} trials" + (f" to step {', '.join(map(str, rungs))}" if rungs else "")] if of_trials else []
    )
    rest = len(jobs) - len(of_trials)
    return "next: " + " and ".join([*words, *([f"{rest} cells with the chosen settings"] if rest else [])])
