"""The plot of mIoU over a hyperparameter. It works on a half-finished grid."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report import notes
from bench.report.figures import scores, style
from bench.report.model import Section
from bench.report.records import Runs
from bench.report.tables import pivot
from bench.store.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _panel(axes: Axes, section: Section, key: str, rule: str, styles: dict[str, style.LineStyle]) -> None:
    """Draw a section; values that are numbers stand where they are, on a log scale where they span a factor of 20."""
    labels = [column.keys[key] for column in section.columns]
    numbers = [number for label in labels if (number := _number(label)) is not None]
    numeric = len(numbers) == len(labels)
    places = numbers if numeric else [float(at) for at in range(len(labels))]
    order = sorted(range(len(places)), key=places.__getitem__)
    if numeric and min(places) > 0 and max(places) / min(places) > 20:
        axes.set_xscale("log")
    axes.set_xticks(places, labels, minor=False)
    axes.minorticks_off()
    for row in section.rows:
        look, stats = styles[scores.row_name(row)], [row.cells[at].stats[rule] for at in order]
        axes.errorbar(
            [places[at] for at in order],
            [math.nan if stat.mean is None else stat.mean for stat in stats],
            [math.nan if stat.sd is None else stat.sd for stat in stats],
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            elinewidth=1.0,
        )
    axes.set_title(notes.name(section.keys))
    axes.set_xlabel(key)


def sweep(runs: Runs, grid: Summary, out_dir: Path, x: str, select: str | None = None) -> list[Path]:
    """Draw mIoU over the values of an axis, mean ± sample sd over seeds, a line per method, a panel per other coordinate.

    Args:
        runs: from :func:`bench.report.records.load`.
        grid: the grid's summary.
        out_dir: where to write.
        x: the axis, or the last word of its key.
        select: overrides the grid's selection rule.

    Returns:
        The files written: `<grid>-sweep-<x>.png`, `.svg` and `.pdf` in `out_dir`.

    Raises:
        BenchError: if there are no cells, no such axis, or no such selection rule.
    """
    table = pivot(runs, grid, select, ["method"], [x])
    if not table.sections:
        raise BenchError(f"grid '{table.name}' has no cells to plot; check --only")
    rows = [row for section in table.sections for row in section.rows]
    styles = style.line_styles(dict.fromkeys(map(scores.row_name, rows)))
    keys = list(table.sections[0].columns[0].keys)
    key = "labels" if "labels" in keys else keys[0]
    counts = (len(cell.done) for row in rows for cell in row.cells)
    marks = f"{scores.spread('mean ± sample standard deviation', counts)}; rule '{table.rule.name}'{scores.mixed(runs)}"
    with style.styled():
        figure, panels = style.panels(len(table.sections), f"{runs.named} (%)")
        for section, axes in zip(table.sections, panels, strict=True):
            _panel(axes, section, key, table.rule.name, styles)
        legend = scores.legend(styles, (scores.row_name(row) for row in rows if any(cell.done for cell in row.cells)))
        style.finish(figure, table.title, marks, legend)
        return style.save(figure, out_dir, f"{grid.name}-sweep-{x.rpartition('.')[2]}")
