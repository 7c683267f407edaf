"""``track``: tell an experiment tracker the runs of a grid from their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import JSON, ONLY, disable_gc, takes_request
from bench.cli.output import console, counted, print_json

if TYPE_CHECKING:
    from bench.plan.request import Request


@takes_request
def track(
    request: Request,
    to: Annotated[
        str, typer.Option("--to", metavar="NAME", help="The tracker: tensorboard, wandb, mlflow or trackio.")
    ],
    only: ONLY = None,
    as_json: JSON = False,
) -> None:
    """Tell a tracker the runs of a grid, finished or not, from their files; its records lie in STORE/.track."""
    disable_gc()
    from bench.cli.tables import restricted
    from bench.plan.summary import find_summary
    from bench.store.run import Run
    from bench.track.tracker import replay

    summary = restricted(find_summary(request), only)
    runs = [run for cell in summary.cells if (run := Run(request.store / cell.id)).metrics.is_file()]
    lines = {run.id: replay(run, to) for run in runs}
    if as_json:
        print_json({"tracker": to, "runs": lines})
    else:
        folder = request.store / ".track" / to
        console().print(f"told {to} of {counted(len(runs), 'run')}, {sum(lines.values())} lines: {folder}")
