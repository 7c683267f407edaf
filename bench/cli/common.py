"""What verbs share: options, output for people, and its JSON twin for programs."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bench.plan.request import Request
    from bench.store.throughput import Projection

GRID = Annotated[str, typer.Argument(metavar="GRID", help="A grid file, or the name of one in bench/grids.")]
DATA = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="NAME=DIR", help="Where a dataset lies. [env: BENCH_DATA, a folder of folders]"),
]
STORE = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="The run store. [env: BENCH_STORE; default: results/runs]")
]
SET = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the spec, e.g. schedule.iterations=100."),
]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def store_path(store: Path | None) -> Path:
    """Return the store: the option, else ``BENCH_STORE``, else ``results/runs`` of this checkout."""
    from bench.files import REPOSITORY

    return store or Path(os.environ.get("BENCH_STORE") or REPOSITORY / "results" / "runs")


def make_request(grid: str, sets: list[str] | None, data: list[str] | None, store: Path | None) -> Request:
    """Bring a verb's options together."""
    from bench.plan.request import Request

    return Request(grid, tuple(sets or ()), tuple(data or ()), store_path(store))


def spare_the_collector() -> None:
    """Turn Python's garbage collector off, for a verb that reads much, makes no cycles worth a search, and ends soon."""
    gc.disable()


def console(stderr: bool = False) -> Console:
    """Return a console; in a pipe it writes plain text, as wide as it needs."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 160, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def counted(number: int, noun: str) -> str:
    """Write ``1 cell``, ``2 cells``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float | None) -> str:
    """Write seconds as people do: ``42 s``, ``7 min``, ``3 h 05 min``."""
    if seconds is None:
        return "–"
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def projection_text(projection: Projection) -> str:
    """Say how long cells will take, as far as their pace is known."""
    if not projection.cells:
        return "no pace known yet (`speed` measures it)"
    text = (
        f"about {duration(projection.seconds)} one after the other, at the pace of {' and '.join(projection.hardware)}"
    )
    return text + (f"; {projection.unknown} more cells whose pace isn't known yet" if projection.unknown else "")
