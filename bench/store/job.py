"""What a worker is given, and whether the run still belongs to its submission."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.errors import Damaged
from bench.store.run import Run
from bench.store.ticket import read_ticket


@dataclass(frozen=True)
class Job:
    """What a worker is given: plain values, so that it can be pickled or written as JSON.

    Attributes:
        store: the run store.
        cell_id: whose directory holds cell.json.
        data: folder per dataset.
        resources: ``Resources`` as a mapping.
        retry: also run a cell that diverged.
        until: the step after whose evaluation the run stops for now, see ``bench.store.trials``; None for its end.
        modules: that take long to import and that the cell will use, see ``Config.needed_modules``.
        submission: the submission to a cluster that this job belongs to; "" for one that runs at once.
    """

    store: str
    cell_id: str
    data: dict[str, str] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    retry: bool = False
    submission: str = ""
    until: int | None = None
    modules: tuple[str, ...] = ()


def holds_ticket(run: Run, job: Job) -> bool:
    """Tell whether the run still belongs to this job's submission.

    It always does for a job without one, and where its ticket is damaged: nobody has taken it back by that.
    """
    if not job.submission:
        return True
    try:
        ticket = read_ticket(run)
    except Damaged:
        return True
    return ticket is not None and ticket.submission == job.submission and ticket.cancelled is None
