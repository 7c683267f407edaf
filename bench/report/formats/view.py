"""What formats share: a table's sections as lines of text for people, and its cells one by one for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.report.model import Row, Section, Stat, Table, TableCell

# Means and deviations in data formats, in %: far below what a run can resolve.
DIGITS = 4


class Line(NamedTuple):
    """One line of a table: its labels, its cells, and whether it belongs to the line above it (`published`)."""

    labels: tuple[str, ...]
    cells: tuple[Stat, ...]
    minor: bool


@dataclass(frozen=True)
class TableView:
    """One section under one selection rule, as text: what every format for people draws."""

    title: str
    header: tuple[str, ...]
    body: tuple[Line, ...]

    @property
    def labels(self) -> int:
        """The number of leading columns that hold labels, not numbers."""
        return len(self.header) - len(self.body[0].cells)


def _lines(row: Row, rule: str) -> Iterator[Line]:
    """Yield a row's line, and one for each label that its cells have below their score."""
    stats = tuple(cell.stats[rule] for cell in row.cells)
    yield Line(tuple(row.keys.values()), stats, False)
    rest = ("",) * (len(row.keys) - 1)
    for label in dict.fromkeys(label for stat in stats for label in stat.below):
        yield Line((label, *rest), tuple(Stat((), None, None, 0, stat.below.get(label, "")) for stat in stats), True)


def views(table: Table) -> Iterator[TableView]:
    """Yield the sections under the headline rule, then under the others."""
    for rule in table.rules:
        suffix = "" if rule == table.rule.name else f" — rule '{rule}', not the headline"
        for section in table.sections:
            header = (*section.row_axes, *(column.title for column in section.columns))
            body = tuple(line for row in section.rows for line in _lines(row, rule))
            yield TableView(section.title + suffix, header, body)


def rounded(value: float | None) -> float | None:
    """Return a number as data formats hold it."""
    return None if value is None else round(value, DIGITS)


def flat(section: Section) -> Iterator[tuple[dict[str, str], TableCell]]:
    """Yield a section's cells with all their coordinates, row by row."""
    for row in section.rows:
        for column, cell in zip(section.columns, row.cells, strict=True):
            yield {**section.keys, **row.keys, **column.keys}, cell


def plain(value: Any) -> Any:
    """Return a fact as JSON types, numbers rounded."""
    return rounded(value) if isinstance(value, float) else [*map(plain, value)] if isinstance(value, tuple) else value
