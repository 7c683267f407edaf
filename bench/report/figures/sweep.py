"""The plot of mIoU over a hyperparameter. It works on a half-finished grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
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


WIDE = 20  # largest over least value, from which a log scale is easier to read


@dataclass(frozen=True)
class Places:
    """Where the values of an axis stand on a plot.

    Attributes:
        columns: those of the table's section, in the order of their places.
        at: their places: the numbers that they are; 0, 1, … where not all of them are numbers, or where a zero stands beside
            numbers of such different size that neither a linear nor a logarithmic scale can tell them apart.
        labels: the values as text.
        log: on a log scale.
    """

    columns: tuple[int, ...]
    at: tuple[float, ...]
    labels: tuple[str, ...]
    log: bool

    def axis(self, key: str) -> str:
        """Return the axis' label."""
        return key + (" (log scale)" if self.log else "")


def places(section: Section, key: str) -> Places:
    """Return where the columns of a section stand."""
    labels = [column.keys[key] for column in section.columns]
    numbers = [number for label in labels if (number := number_of(label)) is not None]
    known = len(numbers) == len(labels)
    order = sorted(range(len(labels)), key=numbers.__getitem__) if known else list(range(len(labels)))
    above = [number for number in numbers if number > 0]
    wide = bool(known and above and max(above) / min(above) > WIDE)
    log = wide and len(above) == len(labels)
    scaled = known and (log or not wide)
    at = tuple(numbers[column] if scaled else float(place) for place, column in enumerate(order))
    return Places(tuple(order), at, tuple(labels[column] for column in order), log)


def number_of(text: str) -> float | None:
    """Return the finite number that a value is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _panel(axes: Axes, section: Section, key: str, rule: str, styles: dict[str, style.LineStyle]) -> None:
    """Draw a section; values that are numbers stand where they are."""
    found = places(section, key)
    if found.log:
        axes.set_xscale("log")
    axes.set_xticks(found.at, found.labels, minor=False)
    axes.minorticks_off()
    moved = scores.apart(found.at, len(section.rows), found.log)
    for i, row in enumerate(section.rows):
        look, stats = styles[scores.row_name(row)], [row.cells[column].stats[rule] for column in found.columns]
        axes.errorbar(
            [moved(i, x) for x in found.at],
            [math.nan if stat.mean is None else stat.mean for stat in stats],
            [math.nan if stat.sd is None else stat.sd for stat in stats],
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            elinewidth=1.0,
        )
    style.title(axes, notes.name(section.keys))
    axes.set_xlabel(found.axis(key))


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
    if x == "method":
        raise BenchError("--x method: a line is drawn for each method; name another axis, or use `table`")
    table = pivot(runs, grid, select, ["method"], [x], ("--rows", "--x"))
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
