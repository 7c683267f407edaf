"""The charts of memory: of each run, as recorded, and of the sweeps that the store keeps for the grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.files import read_json
from bench.page.charts import Chart, Line, Panel, Point
from bench.report.description.compute import KINDS
from bench.report.description.model import RunFacts
from bench.report.figures import style
from bench.report.figures.memory import Measured, measured_points
from bench.report.notes import name


def charts(store: Path, grid: str, runs: Sequence[RunFacts]) -> Iterator[Chart]:
    """Yield the charts of memory that there are numbers for.

    Args:
        store: the run store.
        grid: the grid's name.
        runs: its runs.
    """
    peaks = tuple(_peaks(runs))
    if peaks:
        yield Chart("Peak memory of each run", "as recorded: on a GPU of the device, on a CPU of the process", peaks)
    for path in sorted((store / ".memory").glob("*.json")):
        found = _sweep(path)
        if found is not None and Path(str(found.get("grid") or "")).stem == grid:
            yield _of_sweep(found)


def _peaks(runs: Sequence[RunFacts]) -> Iterator[Panel]:
    """Yield a panel per kind of device: methods side by side, a point for each run."""
    for kind, title in KINDS.items():
        known = [run for run in runs if run.kind == kind and run.memory]
        methods = list(dict.fromkeys(str(run.cell.coords["method"]) for run in known))
        points = tuple(
            Point(methods.index(str(run.cell.coords["method"])) + 1, run.memory or 0.0, _said(run)) for run in known
        )
        if points:
            (look,) = style.line_styles([""]).values()
            ticks = tuple((place + 1.0, method) for place, method in enumerate(methods))
            yield Panel(
                title,
                "method",
                "peak memory",
                (Line("", look, points, joined=False),),
                ticks,
                also=(0.0,),
                unit="B",
            )


def _said(run: RunFacts) -> str:
    coords = {key: str(value) for key, value in run.cell.coords.items()}
    return f"{name(coords)}: {(run.memory or 0) / 1e6:,.0f} MB"


def _sweep(path: Path) -> Mapping[str, Any] | None:
    try:
        found = read_json(path)
    except (ValueError, OSError):
        return None
    return found if isinstance(found, Mapping) and "rows" in found else None


def _of_sweep(found: Mapping[str, Any]) -> Chart:
    """Return the chart of a sweep, as `plot memory` draws it: whole steps, and losses alone."""
    rows = found["rows"]
    looks = style.line_styles(dict.fromkeys(row["series"] for row in rows))
    parts = (
        ("a whole training step", "step", "peak_bytes"),
        ("the loss alone, above its inputs", None, "extra_bytes"),
    )
    panels = []
    for title, part, key in parts:
        measured = {series: measured_points(rows, series, part, key) for series in looks}
        lines = [Line(series, looks[series], _points(found)) for series, found in measured.items()]
        out = [f"{series} at {pixels:,}" for series, found in measured.items() for pixels in found.out]
        if any(line.points for line in lines):
            x_label = "pixels sampled per step (log scale)"
            note = f"out of memory: {', '.join(out)}" if out else ""
            y_label = "memory (log scale)"
            panels.append(Panel(title, x_label, y_label, tuple(lines), log_x=True, log_y=True, unit="B", note=note))
    how = "measured" if found["mode"] == "real" else "predicted, not measured"
    return Chart(f"Memory over pixels sampled: {found['title']}", how, tuple(panels))


def _points(found: Measured) -> tuple[Point, ...]:
    return tuple(Point(pixels, size, f"{pixels:,} pixels: {size / 1e6:,.1f} MB") for pixels, size in found.done)
