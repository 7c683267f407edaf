"""How every plot of this project looks, and how it is written: readable without colour, the same bytes every time."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.files import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito, "Color Universal Design" (2008); its yellow is left out, too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
FORMATS = ("png", "svg", "pdf")
PANEL_WIDTH, PANEL_HEIGHT = 3.6, 3.0  # inches
MAX_COLUMNS = 3
LETTER = 0.0083  # inches that a character takes, about, per point of its size
LINE, ROOM = 0.19, 5  # inches of a line of a legend or title; how many of them a figure has room for beside its panels

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "errorbar.capsize": 2.5,
    "text.parse_math": False,  # names may hold dollar signs
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.hashsalt": "semisegbench",
    "savefig.dpi": 200,
}
# Neither dates nor versions: the same data give the same file.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class LineStyle:
    """How one line is drawn. Colour, marker and line change together: any one of them is enough to tell it apart."""

    colour: str
    marker: str
    line: Any


def line_styles(names: Iterable[str]) -> dict[str, LineStyle]:
    """Return a style per name, by position: the same grid gives a method the same looks in every plot."""
    return {
        name: LineStyle(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])
        for i, name in enumerate(names)
    }


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this project's style, whatever the user's matplotlibrc says, and leave the global settings alone."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def panels(count: int, y_label: str, share_x: bool = False, share_y: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` small multiples, at most :data:`MAX_COLUMNS` in a row, that share their y axis
    unless told otherwise.

    It is made without pyplot, which keeps global state.
    """
    columns = min(count, MAX_COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(PANEL_WIDTH * columns, 5.2) + 0.4, PANEL_HEIGHT * rows + 1.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share_x, sharey=share_y).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes in grid[:count]:
        axes.tick_params(labelbottom=True)
    for axes in grid[:count:columns]:
        axes.set_ylabel(y_label)
    return figure, list(grid[:count])


def wrapped(text: str, inches: float, size: float = 9.0) -> str:
    """Return a text in lines that are no longer than so many inches, at a font size in points."""
    most = max(12, int(inches / (LETTER * size)))
    return "\n".join(line for part in text.split("\n") for line in textwrap.wrap(part, most) or [""])


def title(axes: Axes, text: str) -> None:
    """Write a panel's title, in as many lines as its width asks for."""
    place, figure = axes.get_subplotspec(), axes.get_figure()
    assert place is not None and isinstance(figure, Figure)
    axes.set_title(wrapped(text, figure.get_figwidth() / place.get_gridspec().ncols - 0.4, 9.5))


def empty(axes: Axes, text: str) -> None:
    """Say in a panel why it shows nothing."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555")


def legend_line(name: str, look: LineStyle) -> Line2D:
    """Return the legend entry of a name."""
    # matplotlib leaves out names that begin with an underscore.
    label = f" {name}" if name.startswith("_") else name
    return Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=label)


def finish(figure: Figure, title: str, marks: str, handles: Sequence[Line2D]) -> None:
    """Add the title and one legend below all panels; `marks` says what lines, bars and bands mean.

    The figure grows with the lines that these and the panels' titles take.
    """
    width = figure.get_figwidth()
    above, below = wrapped(title, width - 0.4, 12.5), wrapped(marks, width - 0.4)
    names = [wrapped(str(handle.get_label()), width - 1.1) for handle in handles]
    for handle, name in zip(handles, names, strict=True):
        handle.set_label(name)
    entry = 0.9 + LETTER * 9 * max(len(line) for name in names for line in name.split("\n"))  # inches, about
    columns = max(1, min(len(handles), int(width / entry)))
    tall = max(_lines(name) for name in names)
    lines = _lines(above) + _lines(below) + tall * -(-len(handles) // columns) + _title_lines(figure)
    figure.set_figheight(figure.get_figheight() + LINE * max(0, lines - ROOM))
    figure.suptitle(above, fontsize=11, fontweight="bold")
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, handlelength=3.4, title=below)


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _title_lines(figure: Figure) -> int:
    """Return how many lines the titles of all rows of panels take that one line for each doesn't."""
    rows: dict[int, int] = {}
    for axes in figure.get_axes():
        place = axes.get_subplotspec()
        if place is not None:
            rows[place.rowspan.start] = max(rows.get(place.rowspan.start, 1), _lines(axes.get_title()))
    return sum(lines - 1 for lines in rows.values())


def save(figure: Figure, folder: Path, stem: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write PNG, SVG and PDF, or some of them, to `folder`, which is made where it is missing, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{short_name(stem)}.{extension}" for extension in formats]
    for path, extension in zip(paths, formats, strict=True):
        figure.savefig(path, metadata=_METADATA[extension])
    return paths
