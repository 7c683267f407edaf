"""What the plots of a grid's scores share: names, line styles, legend, and what their marks mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from matplotlib.lines import Line2D

from bench.errors import BenchError
from bench.report import differences
from bench.report.figures import style
from bench.report.model import Row, Table
from bench.report.records import Runs
from bench.report.tables import build
from bench.store.summary import Summary


def row_name(row: Row) -> str:
    """Return the name of a table's row in a plot."""
    return ", ".join(value if axis == "method" else f"{axis} {value}" for axis, value in row.keys.items())


def styled_table(runs: Runs, grid: Summary, select: str | None) -> tuple[Table, dict[str, style.LineStyle]]:
    """Return the grid's main table, whose numbers are drawn, and a style for each of its rows' names.

    Raises:
        BenchError: if there are no cells, or there is no such selection rule.
    """
    table = build(runs, grid, select)
    if not table.sections:
        raise BenchError(f"grid '{table.name}' has no cells to plot; check --only")
    return table, style.line_styles(dict.fromkeys(row_name(row) for section in table.sections for row in section.rows))


def mixed(runs: Runs) -> str:
    """Return a second line of the marks: what differs between the runs and can move results; or nothing."""
    found = differences.labels(runs.records, runs.axes)
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    return f"\nruns differ in {', '.join(found[:2])}{more}: see `table`" if found else ""


def legend(styles: Mapping[str, style.LineStyle], with_data: Iterable[str]) -> list[Line2D]:
    """Return the legend's entries; names without any run say so."""
    known = set(with_data)
    return [style.legend_line(name if name in known else f"{name} (no run yet)", look) for name, look in styles.items()]


def apart(places: Sequence[float], lines: int, log: bool) -> Callable[[int, float], float]:
    """Return where the point of a line stands that belongs at a place, so that lines' bars of one place can be told apart.

    Args:
        places: of the points of every line; positive on a log scale.
        lines: their number.
        log: whether the axis is logarithmic.
    """
    known = sorted({math.log(x) if log else x for x in places})
    gap = min((b - a for a, b in pairwise(known)), default=1.0)
    step = min(0.018 * max(known[-1] - known[0], gap), 0.5 * gap / lines)

    def moved(line: int, x: float) -> float:
        shift = step * (line - (lines - 1) / 2)
        return x * math.exp(shift) if log else x + shift

    return moved


def spread(meaning: str, counts: Iterable[int]) -> str:
    """Return what the marks mean and over how many seeds, for the numbers of seeds behind each of them."""
    known = sorted({count for count in counts if count})
    if known in ([], [1]):
        return "single runs" if known else "no run yet"
    return f"{meaning}, {known[0]} seeds" if len(known) == 1 else f"{meaning}, {known[0]} to {known[-1]} seeds"
