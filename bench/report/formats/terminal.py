"""A table for the terminal, with rich."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from bench.report import notes
from bench.report.formats.view import Line, TableView, views
from bench.report.model import Stat, Table

_WIDTH = 100


def _labels(line: Line) -> list[str]:
    return [f"  {label}" if line.minor and label else label for label in line.labels]


def _width(view: TableView) -> int:
    """Return how wide a view is where nothing is wrapped but its titles."""
    rows = [[*_labels(line), *(stat.text for stat in line.cells)] for line in view.body]
    return 1 + sum(
        3 + max(len(part) for cell in column for part in cell.split(", ")) for column in zip(*rows, strict=True)
    )


def _cell(stat: Stat) -> Text:
    # Text, not str: rich would take square brackets in a str for markup.
    style = "bold" if stat.bold else "" if stat.n else "dim"
    return Text(stat.text.replace(", ", ",\n"), style=style)


def _minor(stat: Stat, narrow: bool) -> Text:
    return Text("\n".join(stat.text.rsplit(" ", 1)) if narrow else stat.text)


def _view(view: TableView, width: int) -> RichTable:
    narrow = _width(view) > width
    drawn = RichTable(box=box.SIMPLE_HEAD)
    for title in view.header[: view.labels]:
        drawn.add_column(Text(title), overflow="fold")
    for title in view.header[view.labels :]:
        # A mean stays on one line with its deviation; where it gets narrow, names wrap instead.
        drawn.add_column(Text(title.replace(" (", "\n(")), justify="right", overflow="fold", no_wrap=True)
    for line in view.body:
        labels = map(Text, _labels(line))
        if line.minor:
            drawn.add_row(*labels, *(_minor(stat, narrow) for stat in line.cells), style="dim")
        else:
            drawn.add_row(*labels, *map(_cell, line.cells))
    return drawn


def _parts(table: Table, width: int) -> Iterator[RenderableType]:
    yield Text(table.title, style="bold")
    for text in table.warnings:
        yield Text(f"Warning: {text}", style="bold yellow")
    yield Text("")
    for i, view in enumerate(views(table)):
        yield Text(view.title, style="bold" if i < len(table.sections) else "dim")
        yield _view(view, width)
    for text in table.notes:
        yield Text(text, style="dim")
    for text in notes.missing(table):
        yield Padding(Text(text, style="yellow"), (0, 0, 0, 2))


def drawn(table: Table, width: int = _WIDTH) -> Group:
    """Return the table as something that a rich console of this width prints, in bold and dim where it can."""
    return Group(*_parts(table, width))


def render(table: Table, width: int = _WIDTH) -> str:
    """Return the table as plain text, `width` characters wide."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(drawn(table, width))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
