"""Images beside their truth and what runs predict, pixel by pixel at their own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.arrays import UInt8
from bench.report.figures import style

GAP, TEXT = 6, 16  # pixels between panels, and for a line of text
DPI = 100
COLUMN = 110  # pixels of a column at least, so that there is room for its heading
HATCH = 8  # pixels from one stripe of void to the next
_LIGHT, _DARK = np.uint8(255), np.uint8(150)


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        name: of the image.
        image: (H, W, 3).
        masks: (H, W) each: the truth, then a prediction per run.
        captions: as many, each a line beneath a mask.
    """

    name: str
    image: UInt8
    masks: Sequence[UInt8]
    captions: Sequence[str]


def coloured(mask: UInt8, palette: Sequence[tuple[int, int, int]]) -> UInt8:
    """Return a mask (H, W) in its dataset's colours, (H, W, 3); what is no class (void) is hatched."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    rows, columns = np.indices(mask.shape)
    stripes = np.where((rows + columns) % HATCH < HATCH // 4, _DARK, _LIGHT)
    painted: UInt8 = np.where((mask >= len(palette))[..., None], stripes[..., None], colours[mask])
    return painted


def strip(row: Row, palette: Sequence[tuple[int, int, int]]) -> UInt8:
    """Return an image and its masks side by side, pixel by pixel, white between them: (H, W', 3)."""
    panels = [row.image, *(coloured(mask, palette) for mask in row.masks)]
    gap = np.full((row.image.shape[0], GAP, 3), 255, np.uint8)
    joined: UInt8 = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    return joined


def draw(
    rows: Sequence[Row],
    columns: Sequence[str],
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    title: str,
    folder: Path,
    stem: str,
    formats: Sequence[str] = style.FORMATS,
) -> list[Path]:
    """Draw images × (image, truth, predictions).

    Args:
        rows: at least one.
        columns: headings of the masks.
        classes: names, in index order, of the legend; `palette` has their colours.
        title: above all.
        folder: where to write.
        stem: of the files.
        formats: which of PNG, SVG and PDF.

    Returns:
        The files written: PNG (one image pixel is two by two of its pixels), SVG and PDF.
    """
    headings = ["image", *columns]
    widths = [max(COLUMN, *(row.image.shape[1] for row in rows))] * len(headings)
    heights = [row.image.shape[0] + TEXT + GAP for row in rows]
    width = sum(widths) + GAP * (len(widths) + 1)
    legend_rows = -(-(len(classes) + 1) // max(1, width // 110))
    title = style.wrapped(title, width / DPI, 12.5)
    head, foot = (2 + title.count("\n") + 1) * TEXT, TEXT * (legend_rows + 2)
    height = head + sum(heights) + foot
    with style.styled():
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        FigureCanvasAgg(figure)
        sheet = _Sheet(figure, width, height)
        sheet.text(width / 2, head - 1.7 * TEXT, title, size=11, weight="bold", ha="center", va="bottom")
        top = head
        for row, tall in zip(rows, heights, strict=True):
            panels = [row.image, *(coloured(mask, palette) for mask in row.masks)]
            left = GAP
            for place, (panel, caption) in enumerate(zip(panels, [row.name, *row.captions], strict=True)):
                if top == head:
                    sheet.text(left, top - GAP, _cut(headings[place], widths[place], 10), size=9, weight="bold")
                sheet.panel(panel, left, top)
                below = _cut(caption, widths[place], 7.5)
                sheet.text(left, top + panel.shape[0] + TEXT - GAP / 2, below, size=7.5, colour="#444444")
                left += widths[place] + GAP
            top += tall
        handles = [Patch(facecolor=(r / 255, g / 255, b / 255)) for r, g, b in palette]
        void = Patch(facecolor="white", edgecolor="#969696", hatch="////")
        figure.legend(
            [*handles, void],
            [*classes, "void"],
            loc="lower center",
            ncols=max(1, width // 110),
            fontsize=8,
            handlelength=1.2,
        )
        return style.save(figure, folder, stem, formats)


def _cut(text: str, pixels: int, size: float) -> str:
    """Return a text, or its beginning, that is no wider than a column, at a font size in points."""
    most = int(pixels / DPI / (style.LETTER * size))
    return text if len(text) <= most else text[: most - 1] + "…"


@dataclass(frozen=True)
class _Sheet:
    """A figure in pixels from its upper left corner."""

    figure: Figure
    width: float
    height: float

    def text(self, x: float, y: float, text: str, size: float, colour: str = "black", **more: str) -> None:
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=size, color=colour, **more)  # type: ignore[arg-type]

    def panel(self, pixels: UInt8, left: float, top: float) -> None:
        tall, wide = pixels.shape[:2]
        place = left / self.width, 1 - (top + tall) / self.height, wide / self.width, tall / self.height
        axes = self.figure.add_axes(place)
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
