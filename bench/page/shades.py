"""The colours of a page that are made, not written: of lines, as plots have them, and of the shades of heat maps."""

from __future__ import annotations

from collections.abc import Iterator

from bench.page.results import STEPS
from bench.report.figures.style import COLOURS

Colour = tuple[int, int, int]
# White to blue by day, black to blue by night: at every shade a text of --ink has a contrast of at least 4.5 to 1.
_LIGHT: tuple[Colour, Colour] = (255, 255, 255), (120, 180, 235)
_DARK: tuple[Colour, Colour] = (24, 27, 33), (20, 92, 160)
_GAIN: tuple[Colour, Colour] = (120, 180, 235), (20, 92, 160)
_LOSS: tuple[Colour, Colour] = (245, 175, 110), (150, 72, 10)


def styles() -> str:
    """Return the CSS of lines and shades: `c0` …, `h0` … for a share, `g1` … and `l1` … for a gain and a loss."""
    lines = "".join(f".c{place}{{--c:{colour}}}" for place, colour in enumerate(COLOURS))
    night = "".join(_rules(_DARK[0], _DARK[1], _GAIN[1], _LOSS[1]))
    return f"{lines}{''.join(_rules(_LIGHT[0], _LIGHT[1], _GAIN[0], _LOSS[0]))}@media (prefers-color-scheme:dark){{{night}}}"


def _rules(none: Colour, full: Colour, gain: Colour, loss: Colour) -> Iterator[str]:
    for name, end in (("h", full), ("g", gain), ("l", loss)):
        for step in range(STEPS + 1):
            yield f".{name}{step}{{background:{_between(none, end, step / STEPS)}}}"


def _between(begin: Colour, end: Colour, share: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(begin, end, strict=True))
