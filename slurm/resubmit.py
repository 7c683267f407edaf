"""Submitting again, taking back, and finishing what a submitter that died had begun."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench.store.run import Run, State
from bench.store.status import GridStatus, StatusRow
from bench.store.ticket import read_ticket
from slurm import commands, records
from slurm.commands import SlurmError
from slurm.records import Array, Submission
from slurm.submit import give_up, jobs_folder, tasks_of
from slurm.view import is_open

SUBMITTED = frozenset({State.PENDING.value, State.PREEMPTED.value, State.QUEUED.value, State.CANCELLED.value})
RETRIED = frozenset({State.FAILED.value, State.OUT_OF_MEMORY.value, State.TIMED_OUT.value, State.DIVERGED.value})
AT_A_TIME = 500  # job ids per scancel


def choose(rows: Sequence[StatusRow], wanted: frozenset[str]) -> list[str]:
    """Return the ids of cells in a wanted state that nothing works on and no job in the queue will."""
    return [row["id"] for row in rows if row["state"] in wanted and not is_open(row)]


# -- a submitter that died ---------------------------------------------------------------------------------------------


def recover(store: Path) -> list[str]:
    """Finish submissions whose submitter died between writing them down and hearing Slurm's answer.

    What Slurm has accepted is found by its name and adopted; what it has not loses its tickets, so that the cells are
    pending again. Nothing is ever submitted twice.

    Returns:
        A line for each array.

    Raises:
        SlurmError: if Slurm can't tell.
    """
    lines = []
    for made in records.submissions(store):
        for number, array in enumerate(made.arrays):
            if array.job_id is not None or not array.cells:
                continue
            slurm = array.profile["executor"] == "slurm"
            job = commands.find_array(array.name, time.time() - made.time) if slurm else None
            if job is None:
                give_up(store, made, [number])
                lines.append(
                    f"{array.name}: an interrupted submission that was never accepted; its cells are pending again"
                )
                continue
            array.job_id = job
            _complete(store, made, array)
            made.write(store)
            lines.append(f"{array.name}: an interrupted submission that was accepted as job {job}; adopted")
    return lines


def _complete(store: Path, made: Submission, array: Array) -> None:
    """Write the tasks that submitit had not yet put where the jobs look for them."""
    from submitit.core.utils import DelayedSubmission, JobPaths

    for index, task in enumerate(tasks_of(store, made, array)):
        job = f"{array.job_id}_{index}" if array.tasks > 1 else str(array.job_id)
        path = JobPaths(jobs_folder(store, made), job_id=job).submitted_pickle
        if not path.exists():
            DelayedSubmission(task).dump(path)


def release(state: GridStatus) -> int:
    """Let Slurm try the jobs again that it holds because a node failed to launch them; return their number.

    Raises:
        SlurmError: if Slurm refuses.
    """
    jobs = state.get("held", [])
    for start in range(0, len(jobs), AT_A_TIME):
        commands.ask("scontrol", "release", *jobs[start : start + AT_A_TIME])
    return len(jobs)


# -- cancelling --------------------------------------------------------------------------------------------------------


def cancel(store: Path, rows: Sequence[StatusRow]) -> list[str]:
    """Take cells back: those that wait never start, those that run write a checkpoint and stop.

    Args:
        store: the run store.
        rows: of :func:`slurm.view.add_view`, all in the hands of a submission.

    Returns:
        The ids of the cells that were taken back.

    Raises:
        SlurmError: if Slurm doesn't take the cancellation; the cells are marked all the same, and their jobs leave them
            alone when they start.
    """
    taken, jobs = [], []
    for row in rows:
        run = Run(store / row["id"])
        ticket = read_ticket(run)
        # Cancelled before, but Slurm hasn't heard of it yet.
        again = row["state"] == State.CANCELLED.value and row.get("in_queue") is not False
        if ticket is None or not (is_open(row) or row["state"] == State.QUEUED.value or again):
            continue
        ticket.cancel(run)
        taken.append(row["id"])
        job = row.get("job")
        if job and row.get("in_queue") is not False and not job.startswith("local"):
            jobs.append(job)
    failed = None
    for start in range(0, len(jobs), AT_A_TIME):
        try:
            commands.ask("scancel", *jobs[start : start + AT_A_TIME])
        except SlurmError as error:
            failed = error
    if failed is not None:
        raise failed
    return taken
