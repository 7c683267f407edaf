"""What ``run`` shows while cells run: a line for the grid and one per running cell, legible from 60 columns up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.cli.output import counted, duration

BARS, STEPS = 72, 100  # columns of a terminal from which there are bars, and steps instead of percents

_FIGURES = 32  # columns of a terminal that the figures of a cell take


@dataclass(frozen=True)
class CellLine:
    """How far a running cell is.

    Attributes:
        name: short.
        step, iterations: optimizer steps done and to do.
        it_per_s: optimizer steps per second; None where not known yet.
        loss: sum of its losses, mean since the line of metrics before; None where not known yet.
        miou: of the last evaluation, in percent; None before the first.
        note: what else a person should know, `by pid 12`.
        brief: a shorter name, for where the other doesn't fit.
    """

    name: str
    step: int
    iterations: int
    it_per_s: float | None = None
    loss: float | None = None
    miou: float | None = None
    note: str = ""
    brief: str = ""

    @property
    def seconds_left(self) -> float | None:
        """How long it still takes at its present rate; None where that isn't known."""
        return max(self.iterations - self.step, 0) / self.it_per_s if self.it_per_s else None

    def said(self) -> str:
        """Return the line as plain text, for a pipe or a log."""
        facts = [
            f"step {self.step}/{self.iterations}",
            *([f"{self.it_per_s:.2f} it/s"] if self.it_per_s else []),
            *([f"loss {self.loss:.4g}"] if self.loss is not None else []),
            *([f"mIoU {self.miou:.1f}"] if self.miou is not None else []),
            *([f"left: {duration(self.seconds_left)}"] if self.it_per_s else []),
            *([self.note] if self.note else []),
        ]
        return f"{self.name}: {', '.join(facts)}"


@dataclass(frozen=True)
class GridLine:
    """How far all cells together are.

    Attributes:
        ended: number of cells in each state that they ended in.
        cells: number of all cells.
        step, iterations: optimizer steps done and to do, over all cells.
        seconds: since the beginning.
    """

    ended: Counter[str]
    cells: int
    step: int
    iterations: int
    seconds: float

    def said(self, lines: Sequence[CellLine]) -> str:
        """Return the line as text; `lines` are the cells that run."""
        rate = sum(line.it_per_s or 0.0 for line in lines)
        left = duration((self.iterations - self.step) / rate) if rate else "–"
        others = "".join(f", {n} {state}" for state, n in sorted(self.ended.items()) if state != "done")
        share = 100 * self.step // max(self.iterations, 1)
        counts = f"{self.ended['done']}/{counted(self.cells, 'cell')} done{others}"
        return f"{counts} · {share} % · {duration(self.seconds)} · left: {left}"


def _short(seconds: float | None) -> str:
    """Write seconds in at most six characters."""
    if seconds is None:
        return "–"
    if seconds < 5400:
        return duration(seconds)
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _bar(step: int, iterations: int, width: int) -> ProgressBar:
    return ProgressBar(total=max(iterations, 1), completed=min(step, iterations), width=width)


def drawn(grid: GridLine, lines: Iterable[CellLine], width: int) -> RenderableType:
    """Return the lines as something that a rich console of this width prints, the grid's first: no terminal cuts it off."""
    shown = list(lines)
    table = Table(
        box=None, padding=(0, 1, 0, 0), pad_edge=False, width=width, header_style="dim", show_header=bool(shown)
    )
    table.add_column("", overflow="fold", ratio=1)
    bar = 0 if width < BARS else 8 if width < STEPS else 20
    if bar:
        table.add_column("", width=bar)
    for heading in ("step", "it/s", "loss", "mIoU", "left"):
        table.add_column(heading, justify="right", no_wrap=True)
    brief = max((len(line.name) for line in shown), default=0) > width - bar - _FIGURES
    for line in shown:
        name = line.brief if brief and line.brief else line.name
        share = f"{100 * line.step // max(line.iterations, 1)} %"
        table.add_row(
            Text(f"[{line.note}] {name}" if line.note else name),
            *([_bar(line.step, line.iterations, bar)] if bar else []),
            f"{line.step:,}/{line.iterations:,}" if width >= STEPS else share,
            _number(line.it_per_s, ".1f" if (line.it_per_s or 0) < 100 else ".0f"),
            _number(line.loss, ".3f" if abs(line.loss or 0) < 100 else ".3g"),
            _number(line.miou, ".1f"),
            _short(line.seconds_left),
        )
    head = Text(grid.said(shown), style="bold", no_wrap=True, overflow="ellipsis")
    return Group(head, *([table] if shown else []))
