"""Charts as SVG: where each line, bar, mark and tick of a panel stands, for the template that writes them down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator

from bench.page.charts import Line, Panel, Point, breaks
from bench.report.figures import style

if TYPE_CHECKING:
    from bench.report.figures.style import LineStyle

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 46
LETTER = 6  # width of a character of a label
MANY = 6  # labels of an axis, from which on they are turned
LONG = 8  # characters of a label, from which on three of them are many
# The shapes of matplotlib's markers, around 0, 0.
SHAPES = {
    "o": "M-3.6,0a3.6,3.6 0 1,0 7.2,0a3.6,3.6 0 1,0 -7.2,0z",
    "s": "M-3.2,-3.2h6.4v6.4h-6.4z",
    "^": "M0,-4.2L4,3.2H-4z",
    "D": "M0,-4.6L4.6,0L0,4.6L-4.6,0z",
    "v": "M0,4.2L4,-3.2H-4z",
    "P": "M-1.4,-4h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z",
    "X": "M-2,-4L0,-2L2,-4L4,-2L2,0L4,2L2,4L0,2L-2,4L-4,2L-2,0L-4,-2z",
    "<": "M-4.2,0L3.2,4V-4z",
    ">": "M4.2,0L-3.2,4V-4z",
    "p": "M0,-4.2L4,-1.3L2.5,3.4H-2.5L-4,-1.3z",
    "h": "M0,-4.2L3.6,-2.1V2.1L0,4.2L-3.6,2.1V-2.1z",
}
DASHES = {"-": "", "--": "6 3", "-.": "7 2 1.5 2", ":": "1.5 2.5"}
_DASH_OF_OTHERS = "7 2 1.5 2 1.5 2"


@dataclass(frozen=True)
class Mark:
    """A mark at a place in the drawing, with the ends of its bar."""

    x: str
    y: str
    hollow: bool
    bar: tuple[str, str] | None


@dataclass(frozen=True)
class Drawn:
    """A line as it is drawn.

    Attributes:
        name: of the line.
        colour: number of its colour.
        dash, shape: as SVG has them.
        paths: stretches, each the points of a polyline.
        band: outline of its band; empty where it has none.
        marks: of its points.
        places, texts: where its points stand (`x,y` between blanks) and what they say (between tabs).
    """

    name: str
    colour: int
    dash: str
    shape: str
    paths: tuple[str, ...]
    band: str
    marks: tuple[Mark, ...]
    places: str
    texts: str


@dataclass(frozen=True)
class Drawing:
    """A panel as it is drawn: its lines; places, labels and (of x) anchors of its ticks; where its axes begin, and whether
    labels of x are turned.
    """

    panel: Panel
    width: int
    height: int
    lines: tuple[Drawn, ...]
    x_ticks: tuple[tuple[str, str, str], ...]
    y_ticks: tuple[tuple[str, str], ...]
    left: int
    turned: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the axes."""
        return self.left, TOP, self.width - RIGHT, self.height - _bottom(self.turned)


def colour_of(look: LineStyle) -> int:
    """Return the number of a look's colour, of which the page's styles have one for light and one for dark."""
    return style.COLOURS.index(look.colour)


def dash_of(look: LineStyle) -> str:
    """Return a look's line as SVG has it."""
    return DASHES.get(look.line, _DASH_OF_OTHERS) if isinstance(look.line, str) else _DASH_OF_OTHERS


def shape_of(look: LineStyle) -> str:
    """Return the outline of a look's mark."""
    return SHAPES[look.marker]


def _bottom(turned: bool) -> int:
    return BOTTOM + 46 * turned


def _scale(values: Sequence[float], begin: float, end: float, log: bool, room: float) -> Callable[[float], float]:
    """Return where a value stands between `begin` and `end`; `room` of the range is left free at both ends."""
    ends = [math.log(value) for value in values] if log else list(values)
    low, high = min(ends), max(ends)
    if low == high:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    free = (high - low) * room
    low, high = low - free, high + free

    def place(value: float) -> float:
        return begin + ((math.log(value) if log else value) - low) / (high - low) * (end - begin)

    return place


def _fitting(values: Iterable[float | None], log: bool) -> list[float]:
    return [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not log)]


def draw(panel: Panel, width: int = WIDTH, height: int = HEIGHT) -> Drawing | None:
    """Return a panel with places for all that it shows; None where it shows nothing.

    Args:
        panel: what is shown.
        width, height: of the drawing, in its own units.
    """
    points = [point for line in panel.lines for point in line.points if not math.isnan(point.y)]
    xs = _fitting([*(point.x for point in points), *(x for x, _ in panel.x_ticks)], panel.log_x)
    ys = _fitting([y for line in panel.lines for y in line.heights], panel.log_y)
    if not xs or not ys:
        return None
    ys += _fitting(panel.also, panel.log_y)
    ticks, y_ticks = _x_ticks(panel, xs), list(_y_ticks(panel, ys))
    left = LEFT + max(0, max((len(label) for _, label in y_ticks), default=0) - 4) * LETTER
    longest = max((len(label) for _, label in ticks), default=0)
    turned = len(ticks) > MANY or (len(ticks) > 2 and longest * len(ticks) > MANY * LONG)
    x_of = _scale(xs, left, width - RIGHT, panel.log_x, 0.06 if panel.x_ticks else 0.02)
    y_of = _scale(ys, height - _bottom(turned), TOP, panel.log_y, 0.05)
    return Drawing(
        panel,
        width,
        height,
        tuple(_line(line, x_of, y_of, width - left - RIGHT, panel.log_y) for line in panel.lines if line.points),
        tuple((_coordinate(x_of(x)), label, _anchor(x_of(x), label, width)) for x, label in ticks),
        tuple((_coordinate(y_of(y)), label) for y, label in y_ticks),
        left,
        turned,
    )


def _line(line: Line, x_of: Callable[[float], float], y_of: Callable[[float], float], width: int, log_y: bool) -> Drawn:
    shift = line.shift * width
    known = [p for p in line.points if not math.isnan(p.y) and (p.y > 0 or not log_y)]

    def place(point: Point, y: float | None = None) -> str:
        return f"{_coordinate(x_of(point.x) + shift)},{_coordinate(y_of(point.y if y is None else y))}"

    stretches = list(breaks(line.points)) if line.joined else []
    return Drawn(
        line.name,
        colour_of(line.look),
        dash_of(line.look),
        shape_of(line.look),
        tuple(" ".join(place(p) for p in stretch) for stretch in stretches if len(stretch) > 1),
        _outline(known, place) if line.band else "",
        tuple(_mark(p, x_of(p.x) + shift, y_of, line.band) for p in known) if line.marked else (),
        " ".join(place(p) for p in known),
        "\t".join(p.text for p in known),
    )


def _anchor(x: float, label: str, width: int) -> str:
    """Return how a label hangs on its tick so that it stays within the drawing."""
    half = len(label) * LETTER / 2
    return "start" if x < half else "end" if x + half > width else "middle"


def _outline(points: Sequence[Point], place: Callable[[Point, float | None], str]) -> str:
    if len(points) < 2:
        return ""
    return " ".join([*(place(p, p.high) for p in points), *(place(p, p.low) for p in reversed(points))])


def _mark(point: Point, x: float, y_of: Callable[[float], float], band: bool) -> Mark:
    bar = None
    if point.low is not None and point.high is not None and not band:
        bar = _coordinate(y_of(point.low)), _coordinate(y_of(point.high))
    return Mark(_coordinate(x), _coordinate(y_of(point.y)), point.hollow, bar)


def _coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _x_ticks(panel: Panel, values: Sequence[float]) -> list[tuple[float, str]]:
    return list(panel.x_ticks) or list(_round(values, panel.log_x, ""))


def _y_ticks(panel: Panel, values: Sequence[float]) -> Iterator[tuple[float, str]]:
    yield from _round(values, panel.log_y, panel.unit)


def _round(values: Sequence[float], log: bool, unit: str) -> Iterator[tuple[float, str]]:
    """Yield round numbers within the range of values, with their labels; numbers of a unit as 1.5 GB."""
    low, high = min(values), max(values)
    if low == high and not log:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    locator = (
        LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)) if log else MaxNLocator(5, steps=[1, 2, 5, 10])
    )
    written = EngFormatter(unit=unit, sep=" " if unit else "")
    for value in map(float, locator.tick_values(low, high)):
        if low - (high - low) * 0.02 <= value <= high + (high - low) * 0.02:
            yield value, written(value) if unit or log else f"{value:,.10g}"
