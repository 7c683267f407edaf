"""The verbs, put together."""

from __future__ import annotations

import typer

from bench.cli import cluster, data, grids, inspect, memory, reports, speed, splits, submit

app = typer.Typer(
    name="bench.py",
    help="A reproducibility benchmark harness for semi-supervised semantic segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (grids, submit, cluster, reports, memory, speed, data, splits, inspect):
    room.add_to(app)
