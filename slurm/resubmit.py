"""Submitting again, cancelling, and finishing what a submitter that died had begun."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.files import concurrently
from bench.store import clock
from bench.store.activity import is_open
from bench.store.run import Run, State
from bench.store.status import StatusRow
from bench.store.ticket import sound_ticket
from slurm import commands, records
from slurm.commands import SlurmError
from slurm.job import run_task
from slurm.records import Array, Submission
from slurm.submit import jobs_folder, tasks_of, withdraw
from slurm.submitit_private import write_pickle
from slurm.view import SlurmView

SUBMITTED = frozenset({State.PENDING.value, State.PREEMPTED.value, State.QUEUED.value, State.STOPPED.value})
RETRIED = frozenset({State.FAILED.value, State.OUT_OF_MEMORY.value, State.TIMED_OUT.value, State.DIVERGED.value})
AT_A_TIME = 500  # job ids per scancel


def choose(rows: Sequence[StatusRow], wanted: frozenset[str]) -> list[str]:
    """Return the ids of cells in a wanted state that no process runs and no job in the queue will run."""
    return [row["id"] for row in rows if row["state"] in wanted and not is_open(row)]


def was_submitted(store: Path, row: StatusRow, until: int | None) -> bool:
    """Tell whether a cell's last submission was to bring it to this step already, however that ended.

    The rounds of a tuned grid leave such a cell to a person: what fails once more each time would go on for ever.
    """
    made = records.read_submission(store, row["submission"]) if row.get("submission") else None
    return (
        made is not None and row["array"] < len(made.arrays) and made.arrays[row["array"]].until_of(row["id"]) == until
    )


# -- a submitter that died ---------------------------------------------------------------------------------------------


def recover(store: Path) -> list[str]:
    """Finish submissions whose submitter died between writing them down and recording Slurm's answer.

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
            if array.job_id is not None or array.deferred or not array.cells:
                continue
            slurm = array.resources().executor == "slurm"
            job = commands.find_array(array.name, clock.now(store) - made.time) if slurm else None
            if job is None:
                withdraw(store, made, [number])
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
    for index, task in enumerate(tasks_of(store, made, array)):
        job = f"{array.job_id}_{index}" if array.tasks > 1 else str(array.job_id)
        write_pickle(jobs_folder(store, made), job, run_task, task)


def release(view: SlurmView) -> int:
    """Let Slurm try the jobs again that it holds because a node failed to launch them; return their number.

    Raises:
        SlurmError: if Slurm refuses.
    """
    jobs = view.held
    for start in range(0, len(jobs), AT_A_TIME):
        commands.ask("scontrol", "release", *jobs[start : start + AT_A_TIME])
    return len(jobs)


# -- cancelling --------------------------------------------------------------------------------------------------------


def cancel(store: Path, rows: Sequence[StatusRow]) -> list[str]:
    """Cancel cells: those that wait never start, those that run write a checkpoint and stop.

    Args:
        store: the run store.
        rows: of a status with :func:`slurm.view.add_view`.

    Returns:
        The ids of the cells that were cancelled.

    Raises:
        SlurmError: if Slurm doesn't take the cancellation; the cells are marked all the same, and their jobs leave them
            alone when they start.
    """
    taken = [row for row, was in zip(rows, concurrently(lambda row: _take_back(store, row), rows), strict=True) if was]
    jobs = {
        job: row
        for row in taken
        if (job := row.get("job")) and row.get("in_queue") is not False and not job.startswith("local")
    }
    known = {name: records.read_submission(store, name) for name in {row["submission"] for row in jobs.values()}}
    ids = [job for job, row in jobs.items() if not _others(store, row, known[row["submission"]])]
    failed = None
    for start in range(0, len(ids), AT_A_TIME):
        try:
            commands.ask("scancel", *ids[start : start + AT_A_TIME])
        except SlurmError as error:
            failed = error
    if failed is not None:
        raise failed
    return [row["id"] for row in taken]


def _take_back(store: Path, row: StatusRow) -> bool:
    """Mark a cell as cancelled that waits or runs; tell whether it did."""
    run = Run(store / row["id"])
    ticket = sound_ticket(run)
    # Cancelled before, but Slurm did not answer then.
    again = row["state"] == State.CANCELLED.value and row.get("in_queue") is not False
    if ticket is None or not (is_open(row) or row["state"] == State.QUEUED.value or again):
        return False
    ticket.cancel(run)
    return True


def _others(store: Path, row: StatusRow, made: Submission | None) -> bool:
    """Tell whether a cell's job has others to run, packed with it; without its ticket the cell stops by itself there."""
    if made is None or (pack := made.arrays[row["array"]].pack) == 1:
        return False
    start = row["index"] // pack * pack
    beside = (Run(store / cell) for cell in made.arrays[row["array"]].cells[start : start + pack])
    return any(_belongs(run, made.id) and not run.is_done() for run in beside)


def _belongs(run: Run, submission: str) -> bool:
    ticket = sound_ticket(run)
    return ticket is not None and ticket.submission == submission and ticket.cancelled is None
