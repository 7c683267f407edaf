"""What ``plan`` and ``run`` look for before a cell starts: files that cells need, and with ``--check`` all of their data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.streams import say_error

if TYPE_CHECKING:
    from bench.plan.cells import PlannedCell
    from bench.plan.request import Request

CHECK = Annotated[
    bool, typer.Option("--check", help="First decode every image and mask, as `data check` does; sound ones once.")
]


def refuse(problems: Sequence[str]) -> None:
    """Say every problem in a line of its own and exit with 2, where there is one."""
    for line in problems:
        say_error(line)
    if problems:
        raise SystemExit(2)


def faults_of(cells: Sequence[PlannedCell], request: Request) -> list[str]:
    """Decode all files of the datasets of some cells; return a line for each dataset that has problems."""
    from bench.cli.progress import progress_bar
    from bench.data.roots import DataRoots
    from bench.data.whole import faults

    parts = [planned.cell.dataset for planned in cells]
    with progress_bar("checking data", False) as step:
        return faults(parts, DataRoots.parse(request.data), request.store, step)
