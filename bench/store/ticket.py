"""A run's ticket: the submission to a cluster that runs it. Written by whoever submits, moves or cancels the run."""

from __future__ import annotations

import time
from dataclasses import asdict, field, replace

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.errors import Damaged
from bench.files import read_json, write_json
from bench.spec.messages import one_line
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


_TICKET = TypeAdapter(Ticket)


def read_ticket(run: Run) -> Ticket | None:
    """Return a run's ticket, or None where it was never submitted.

    Raises:
        Damaged: if the file isn't what :meth:`Ticket.write` writes.
    """
    content = read_json(run.ticket, dict)
    try:
        return None if content is None else _TICKET.validate_python(content)
    except ValidationError as error:
        raise Damaged(run.ticket, one_line(error)) from None


def sound_ticket(run: Run) -> Ticket | None:
    """Return a run's ticket; None where it was never submitted, or its ticket is damaged."""
    try:
        return read_ticket(run)
    except Damaged:
        return None
