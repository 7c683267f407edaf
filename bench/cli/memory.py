"""``memory``, and the predicted memory that ``plan`` shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import JSON, STORE, store_path
from bench.cli.output import console, print_json, size_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from bench.cost.predict import Prediction
    from bench.cost.sweep_frame import SweepFrame, SweepRow
    from bench.plan.cells import Plan
    from bench.plan.request import Request


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
    from bench.cli.progress import progress_bar
    from bench.cost.sweep import check, sweep
    from bench.cost.sweep_spec import read_spec, result_path, spec_path
    from bench.files import read_json, write_json

    read = read_spec(spec)
    if mode is not None:
        read = read.model_copy(update={"mode": mode.value})
    path = result_path(store_path(store), spec)
    count, done = check(read, str(spec_path(spec))), 0
    with progress_bar("measuring", as_json) as step:

        def show(_: SweepRow) -> None:
            nonlocal done
            done += 1
            step(done, count)

        frame = sweep(read, show, read_json(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, frame)
    if as_json:
        print_json({**frame, "file": str(path)})
        return
    out = console()
    out.print(table(frame))
    print_slopes(out, frame)
    out.print(f"kept in {path}; draw it with: python bench.py plot memory {spec}")


def print_slopes(out: Console, frame: SweepFrame) -> None:
    """Print the fitted slope per series."""
    for name, slope in frame["slopes"].items():
        text = "too few settings" if slope is None else f"{slope:.2f}"
        out.print(f"slope of log(extra memory) over log(pixels sampled), {name}: {text}")


def table(frame: SweepFrame) -> Table:
    """Return the table of a sweep."""
    from rich.table import Table

    how = "measured" if frame["mode"] == "real" else "predicted"
    table = Table(title=f"{frame['title']} ({how})", title_justify="left", box=None)
    for heading in ("series", "setting", "pixels sampled", "extra MB", "peak MB", "state"):
        table.add_column(heading, justify="right" if heading[-1] in "Bd" else "left")
    for row in frame["rows"]:
        setting = ", ".join(f"{k}={v}" for k, v in row["setting"].items())
        sizes = [f"{row[k] / 1e6:,.1f}" if k in row else "–" for k in ("extra_bytes", "peak_bytes")]
        pixels = f"{row['pixels']:,}" if row["pixels"] else "–"
        table.add_row(row["series"], setting, pixels, *sizes, row["state"])
    return table


def plot_memory(request: Request, output: Path, as_json: bool) -> None:
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

    path = result_path(request.store, request.grid)
    found = read_json(path)
    if found is None:
        raise BenchError(f"{path}: nothing measured yet; run: python bench.py memory {request.grid}")
    runs = None
    if found["grid"] is not None:
        cells = find_summary(replace(request, grid=found["grid"], sets=())).cells
        runs = memory.scores(request.store, records.load(request.store, cells), found["rows"])
    files = memory.draw(found, runs or None, output, path.stem)
    if as_json:
        print_json({"files": [str(f) for f in files], "slopes": found["slopes"]})
        return
    out = console()
    print_slopes(out, found)
    if runs == {}:
        out.print(f"without mIoU: no run of {found['grid']} that samples as many pixels is done")
    out.print("wrote " + ", ".join(str(f) for f in files))


def predictions(plan: Plan, request: Request, gpu_memory: float | None, quiet: bool) -> dict[str, Prediction]:
    """Return each cell's prediction by id (see ``bench.cost.predict.predict_step``).

    Args:
        plan: the grid's cells; those of one method, network and shape share a prediction.
        request: for the store, which keeps predictions, and the data folders.
        gpu_memory: GB of 10^9 bytes; each prediction gets `fits`. None leaves it out.
        quiet: show no progress.
    """
    from bench.cli.progress import progress_bar
    from bench.cost.predict import Predictions
    from bench.data.roots import DataRoots

    known, found = Predictions(request.store, DataRoots.parse(request.data)), {}
    with progress_bar("predicting memory", quiet) as step:
        for done, planned in enumerate(plan.cells):
            prediction = known.of(planned.cell, plan.grid.resources.processes)
            if gpu_memory is not None and "needed_bytes" in prediction:
                prediction = {**prediction, "fits": prediction["needed_bytes"] <= gpu_memory * 1e9}
            found[planned.cell.id] = prediction
            step(done + 1, len(plan.cells))
    return found


def describe(prediction: Prediction | None) -> str:
    """Return what follows a cell's id in the list: nothing where nothing was predicted."""
    if prediction is None:
        return ""
    if "error" in prediction:
        return f"  memory can't be predicted: {prediction['error']}"
    about, needs = (size_text(prediction[key]) for key in ("reserved_bytes", "needed_bytes"))
    above = "" if prediction.get("fits", True) else "  ABOVE THE GPU'S MEMORY"
    parts = ""
    if "evaluation_bytes" in prediction:
        training, evaluation = (size_text(prediction[key]) for key in ("training_bytes", "evaluation_bytes"))
        parts = f"; tensors: training {training}, evaluation {evaluation} ({prediction['evaluated']})"
    return f"  about {about}, needs {needs} with margin{parts}{above}"


def advice(plan: Plan, found: Mapping[str, Prediction]) -> Iterator[str]:
    """Yield a line where whole images take more memory than training, and a sliding window would take less."""
    better = [one for planned in plan.cells if "window" in (one := found[planned.cell.id])]
    better = [one for one in better if one["window_bytes"] < one["evaluation_bytes"]]
    if better:
        worst = max(better, key=lambda one: one["evaluation_bytes"])
        rows, columns = worst["window"]
        yield (
            f"Evaluation takes more memory than training: {size_text(worst['evaluation_bytes'])} for {worst['evaluated']}. "
            f"`evaluation: {{mode: sliding, size: [{rows}, {columns}]}}` would take {size_text(worst['window_bytes'])}; its "
            "scores are another protocol's."
        )
