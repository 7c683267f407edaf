"""A run's ticket: which submission to a cluster has it in its hands. Written by whoever submits, moves or cancels it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace

from bench.files import read_json, write_json
from bench.store.run import Run


@dataclass(frozen=True)
class Ticket:
    """A run's place in a submission.

    Attributes:
        submission: its id; a job of an earlier submission finds another one here, and leaves the run alone.
        array: number of the job array in the submission.
        index: the task in that array.
        moves: how often the run was sent to another node because one failed it at once.
        time: when it was submitted (seconds since the epoch).
        cancelled: when it was cancelled, or None.
    """

    submission: str
    array: int
    index: int
    moves: int = 0
    time: float = field(default_factory=time.time)
    cancelled: float | None = None

    def write(self, run: Run) -> None:
        """Put the ticket into the run's directory."""
        write_json(run.ticket, asdict(self))

    def cancel(self, run: Run) -> None:
        """Mark it as cancelled; a job that runs it stops at its next heartbeat."""
        replace(self, cancelled=time.time()).write(run)


def read_ticket(run: Run) -> Ticket | None:
    """Return a run's ticket, or None where it was never submitted.

    Raises:
        ValueError: if the file is damaged.
    """
    content = read_json(run.ticket)
    return None if content is None else Ticket(**content)
