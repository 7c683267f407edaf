"""The rounds of ``run``: one for an ordinary grid; of a tuned one, trials rung by rung, then cells with their settings."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.cli.options import matching
from bench.cli.output import counted, duration, print_json
from bench.cli.progress import GridProgress
from bench.plan.jobs import make_jobs
from bench.plan.leaving import waiting
from bench.run.limit import TimeLimit
from bench.run.local import Event, run_local
from bench.run.signals import raising
from bench.store.liveness import current_state
from bench.store.run import Owner, Run, State
from bench.store.threads import with_threads
from bench.streams import say

if TYPE_CHECKING:
    from rich.console import Console

    from bench.plan.cells import Plan, PlannedCell
    from bench.plan.request import Request
    from bench.store.job import Job

OUT_OF_TIME = 75  # exit code: "try again", as sysexits.h has it


class Rounds:
    """Runs what can run, again and again, until nothing new can.

    Attributes:
        states: of the cells that ran, by id.
        trials: ids of those that are trials.
        cells, done: how many cells were asked for, and how many of them were done before.
        waiting: a line for each setting that couldn't be chosen.
        limit: of the time, None without one.
        others: processes that run cells of the grid as well.
    """

    def __init__(self, request: Request, workers: int, retry: bool, out: Console, seconds: float | None = None) -> None:
        self.request, self._workers, self._retry, self._out = request, workers, retry, out
        self.limit = None if seconds is None else TimeLimit(seconds, request.store, {})
        self.states: dict[str, State] = {}
        self.trials: set[str] = set()
        self.cells = self.done = 0
        self.waiting: list[str] = []
        self.others: list[Owner] = []
        self._tried: set[tuple[str, int | None]] = set()

    @property
    def stopped(self) -> set[str]:
        """Ids of the cells that were asked to stop when the time was over."""
        return set() if self.limit is None else self.limit.stopped

    @property
    def refused(self) -> set[str]:
        """Ids of the cells that weren't begun for lack of time."""
        return set() if self.limit is None else self.limit.refused

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
        if self.limit is not None:
            self.limit.cells = {c.cell.id: c.cell for c in cells}
        places = {c.cell.id: c.coords for c in cells}
        iterations = {job.cell_id: sizes[job.cell_id] for job in jobs}
        with GridProgress(self.request.store, iterations, places, self._out) as progress:
            states = run_local(jobs, min(self._workers, len(jobs)), progress.show, self.limit)
            if self.others:
                states |= follow(self.request.store, states, progress)
        self.states |= states
        return planned.tuned is not None and not (self.stopped or self.refused)

    def _with_threads(self, jobs: list[Job], planned: Plan) -> list[Job]:
        """Give jobs the grid's number of threads; say where workers, taken together, have more threads than cores."""
        ids = (cell.cell.id for cell in [*planned.trials, *planned.cells])
        resources = planned.grid.resources
        jobs = with_threads(jobs, planned.name, ids, machine.default_threads(resources.device, resources.processes))
        workers, cores = min(self._workers, len(jobs)), machine.usable_cores()
        threads = jobs[0].resources["threads"] if jobs else 0
        if workers > 1 and workers * threads > cores:
            self._out.print(
                f"{workers} workers × {threads} threads on {cores} cores: `resources.threads: {max(cores // workers, 1)}` "
                "is faster; it decides rounding, so set it before the grid's first run, not in the middle"
            )
        return jobs


def follow(store: Path, states: Mapping[str, State], progress: GridProgress) -> dict[str, State]:
    """Show cells that other processes run until these end; return the states in which they were left.

    Raises:
        Interrupted: after Ctrl-C, TERM or HUP, which ends the looking alone.
    """
    waiting = [cell_id for cell_id, state in states.items() if state is State.RUNNING]
    found: dict[str, State] = {}
    with raising():
        while waiting:
            for cell_id in waiting:
                state = State(current_state(Run(store / cell_id))["state"])
                if state is not State.RUNNING:
                    found[cell_id] = state
                    progress.show(Event(cell_id, state, ()))
            waiting = [cell_id for cell_id in waiting if cell_id not in found]
            notes = {cell_id: f"by pid {Run(store / cell_id).owner().get('pid', '?')}" for cell_id in waiting}
            progress.look(waiting, notes)
            if waiting:
                time.sleep(1)
    return found


def said_owner(owner: Owner) -> str:
    """Say who runs a grid or a cell: `pid 12 on node3, since 2026-01-31 12:00`."""
    since = owner.get("since")
    when = f", since {datetime.fromtimestamp(since):%Y-%m-%d %H:%M}" if since else ""
    return f"pid {owner.get('pid', '?')} on {owner.get('host', '?')}{when}"


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


def report(out: Console, rounds: Rounds, seconds: float, as_json: bool) -> None:
    """Say what became of the cells; exit with 1 where one failed, with ``OUT_OF_TIME`` where time was too short."""
    states, store = rounds.states, rounds.request.store
    settled = (State.DONE, State.STOPPED)
    early = {i for i in rounds.stopped if states.get(i) in (State.PREEMPTED, State.PENDING)}
    bad = {i: s for i, s in states.items() if s not in settled and i not in early}
    bad = {i: s for i, s in bad.items() if not (s is State.DIVERGED and i in rounds.trials)}
    if as_json:
        more = {"waiting": rounds.waiting} if rounds.waiting else {}
        found = {"cells": rounds.cells, "done_before": rounds.done, "states": {i: s.value for i, s in states.items()}}
        print_json({**found, **more})
    elif states:
        counts = ", ".join(f"{n} {s.value}" for s, n in Counter(states.values()).items())
        out.print(f"{counts} in {duration(seconds)}; runs are in {store}")
    for cell_id, state in bad.items():
        run = Run(store / cell_id)
        reason = current_state(run).get("reason")
        if state is State.RUNNING:  # it was left to whoever claimed it first
            reason = f"another process runs it: {said_owner(run.owner())}"
        say(f"{cell_id}: {state.value}: {reason}")
    out_of_time = bool(early or rounds.refused)
    if out_of_time:
        say(
            f"the time is over: {counted(len(early), 'cell')} stopped, {len(rounds.refused)} not begun; the same command "
            "goes on from there"
        )
    for line in [] if out_of_time else rounds.waiting:
        say(line)
    if bad or (rounds.waiting and not out_of_time):
        raise SystemExit(1)
    if out_of_time:
        raise SystemExit(OUT_OF_TIME)
