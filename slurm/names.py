"""Names of jobs. By its name an array is found again if the submitter died, so it never changes after the submission."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 48  # characters of a grid's name, and of a cell's


def job_name(grid: str, submission: str, number: int, cells: Sequence[str]) -> str:
    """Return the name of an array: ``bench-GRID-SUBMISSION-0``, and of a single cell ``bench-GRID-CELL-SUBMISSION-0``.

    The tasks of an array share its name; which cell each runs is in Slurm's comment (:mod:`slurm.telling`).

    Args:
        grid: its name.
        submission: its id, found nowhere else.
        number: of the array in the submission.
        cells: ids of its cells.
    """
    parts = ["bench", grid, *(cells if len(cells) == 1 else []), submission, str(number)]
    return "-".join(map(_plain, parts))


def next_name(grid: str, submission: str) -> str:
    """Return the name of the job that submits a tuned grid's next round."""
    return "-".join(map(_plain, ("bench", grid, submission, "next")))


def _plain(part: str) -> str:
    """Return what Slurm's commands take literally; a comma would divide a list of names."""
    return re.sub(r"[^\w.=+-]+", "_", part, flags=re.ASCII)[:LONGEST]
