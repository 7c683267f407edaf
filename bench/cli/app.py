"""The verbs, put together."""

from __future__ import annotations

from collections.abc import Callable

import typer

from bench.cli import check, data, grids, inspect, memory, page, reports, share, speed, splits, take, tune
from bench.cli.backend import backends

app = typer.Typer(
    name="bench.py",
    help="A reproducibility benchmark harness for semi-supervised semantic segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS: tuple[Callable[..., None], ...] = (
    *(grids.plan, grids.run, grids.status),
    *(verb for backend in backends() for verb in backend.verbs),
    *(
        reports.table,
        reports.plot,
        page.report,
        page.serve,
        tune.tune,
        share.describe,
        share.bundle,
        share.merge,
        memory.memory,
        speed.speed,
    ),
    *(
        data.list_entries,
        splits.split,
        check.check,
        inspect.evaluate,
        take.export,
        take.predict,
        take.frame,
        inspect.doctor,
    ),
)
for verb in VERBS:
    app.command("list" if verb is data.list_entries else None)(verb)
app.add_typer(data.data_app, name="data")
app.add_typer(inspect.weights_app, name="weights")
