"""A damaged ticket is made anew from the record of the submission that the job belongs to."""

from __future__ import annotations

from pathlib import Path

from bench.aside import set_aside
from bench.errors import Damaged
from bench.store.job import Job
from bench.store.run import Run
from bench.store.ticket import Ticket, read_ticket
from slurm import records


def mend_ticket(run: Run, job: Job) -> None:
    """Set a damaged ticket aside and write the one that the job's submission gave; where that isn't known, there is none.

    How often the cell was moved, and that it was cancelled, is gone with the ticket.
    """
    try:
        read_ticket(run)
        return
    except Damaged as error:
        why = error.why
    made = records.read_submission(Path(job.store), job.submission)
    with run.claim() as mine:
        if not mine:
            return
        set_aside(run.ticket, why)
        for number, array in enumerate(made.arrays if made is not None else ()):
            if run.id in array.cells:
                Ticket(job.submission, number, array.cells.index(run.id)).write(run)
