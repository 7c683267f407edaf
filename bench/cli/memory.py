"""``memory``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import JSON, STORE, console, make_request, print_json, store_path

if TYPE_CHECKING:
    from rich.table import Table


class Mode(str, Enum):
    """How a setting's memory is found."""

    REAL = "real"
    FAKE = "fake"


SPEC = Annotated[str, typer.Argument(metavar="SPEC", help="A memory sweep, e.g. bench/grids/memory.yaml.")]


def memory(
    spec: SPEC,
    mode: Annotated[Mode | None, typer.Option("--mode", help="Override the spec: measure, or predict.")] = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Measure the extra memory of losses over their settings, each in a fresh process; keep it for `plot memory`."""
    from bench.cli.data import progress_bar
    from bench.cost.sweep import check, sweep
    from bench.cost.sweep_spec import read_spec, result_path, spec_path
    from bench.files import write_json

    read = read_spec(spec)
    if mode is not None:
        read = read.model_copy(update={"mode": mode.value})
    count, done = check(read, str(spec_path(spec))), 0
    with progress_bar("measuring", as_json) as step:

        def show(_: dict[str, Any]) -> None:
            nonlocal done
            done += 1
            step(done, count)

        frame = sweep(read, show)
    path = result_path(store_path(store), spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, frame)
    if as_json:
        print_json({**frame, "file": str(path)})
        return
    out = console()
    out.print(table(frame))
    print_slopes(out, frame)
    out.print(f"kept in {path}; draw it with: python bench.py plot memory {spec}", markup=False)


def print_slopes(out: Any, frame: dict[str, Any]) -> None:
    """Print the fitted slope per series."""
    for name, slope in frame["slopes"].items():
        text = "too few settings" if slope is None else f"{slope:.2f}"
        out.print(f"slope of log(extra memory) over log(pixels sampled), {name}: {text}", markup=False)


def table(frame: dict[str, Any]) -> Table:
    """Return the table of a sweep."""
    from rich.markup import escape
    from rich.table import Table

    how = "measured" if frame["mode"] == "real" else "predicted"
    table = Table(title=f"{escape(frame['title'])} ({how})", title_justify="left", box=None)
    for heading in ("series", "setting", "pixels sampled", "extra MB", "peak MB", "state"):
        table.add_column(heading, justify="right" if heading[-1] in "Bd" else "left")
    for row in frame["rows"]:
        setting = ", ".join(f"{k}={v}" for k, v in row["setting"].items())
        sizes = [f"{row[k] / 1e6:,.1f}" if k in row else "–" for k in ("extra_bytes", "peak_bytes")]
        pixels = f"{row['pixels']:,}" if row["pixels"] else "–"
        table.add_row(escape(row["series"]), escape(setting), pixels, *sizes, escape(row["state"]))
    return table


def plot_memory(spec: str, output: Path, data: list[str] | None, store: Path | None, as_json: bool) -> None:
    """Draw a sweep that the store keeps, with the mIoU of its grid's runs.

    Raises:
        BenchError: if the sweep has not been measured yet.
    """
    from bench.cost.sweep_spec import result_path
    from bench.errors import BenchError
    from bench.files import read_json
    from bench.plan.summary import find_summary
    from bench.report import records
    from bench.report.figures import memory

    request = make_request(spec, None, data, store)
    path = result_path(request.store, spec)
    found = read_json(path)
    if found is None:
        raise BenchError(f"{path}: nothing measured yet; run: python bench.py memory {spec}")
    runs = None
    if found["grid"] is not None:
        cells = find_summary(make_request(found["grid"], None, data, store)).cells
        runs = memory.scores(request.store, records.load(request.store, cells), found["rows"])
    files = memory.draw(found, runs, output, path.stem)
    if as_json:
        print_json({"files": [str(f) for f in files], "slopes": found["slopes"]})
        return
    out = console()
    print_slopes(out, found)
    out.print("wrote " + ", ".join(str(f) for f in files), markup=False)


def add_to(app: typer.Typer) -> None:
    """Add this room's verb."""
    app.command()(memory)
