"""A table in the format that is asked for: Markdown, CSV, LaTeX, HTML, JSON, or for the terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.errors import unknown
from bench.report import notes
from bench.report.headline import RULES
from bench.report.model import Cell, Row, Section, Stat, Table

# Means and deviations in data formats, in %: far below what a run can resolve.
DIGITS = 4


class Line(NamedTuple):
    """One line of a table: its labels, its cells, and whether it belongs to the line above it (`published`)."""

    labels: tuple[str, ...]
    cells: tuple[Stat, ...]
    minor: bool


@dataclass(frozen=True)
class View:
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


def views(table: Table) -> Iterator[View]:
    """Yield the sections under the headline rule, then under the other one."""
    for rule in (table.rule.name, table.rule.other):
        suffix = "" if rule == table.rule.name else f" — rule '{rule}', not the headline"
        for section in table.sections:
            header = (*section.row_axes, *(column.title for column in section.columns))
            body = tuple(line for row in section.rows for line in _lines(row, rule))
            yield View(section.title + suffix, header, body)


def _markdown_text(text: str) -> str:
    text = re.sub(r"([\\`*\[\]<>|~&#])", r"\\\1", text)
    # An underscore inside a word is literal; `few_labels` stays readable.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def _markdown_cell(stat: Stat) -> str:
    text = _markdown_text(stat.text)
    return f"**{text}**" if stat.bold else text


def _markdown_line(line: Line) -> list[str]:
    labels = [_markdown_text(label) for label in line.labels]
    if line.minor:
        labels[0] = f"*{labels[0]}*"
    return [*labels, *map(_markdown_cell, line.cells)]


def _markdown_view(view: View) -> str:
    rows = [
        [_markdown_text(title) for title in view.header],
        ["---" if i < view.labels else "---:" for i in range(len(view.header))],
        *map(_markdown_line, view.body),
    ]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"### {_markdown_text(view.title)}\n\n{lines}\n"


def markdown(table: Table) -> str:
    """Return the table as GitHub-flavoured Markdown."""
    lines = [f"**Warning:** {_markdown_text(text)}\n" for text in table.warnings]
    below = [f"- {_markdown_text(text)}" for text in table.notes]
    below += [f"  - {_markdown_text(text)}" for text in notes.missing(table)]
    parts = [f"## {_markdown_text(table.title)}\n", *lines, *map(_markdown_view, views(table)), "\n".join(below)]
    return "\n".join(parts) + "\n"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _flat(section: Section) -> Iterator[tuple[dict[str, str], Cell]]:
    for row in section.rows:
        for column, cell in zip(section.columns, row.cells, strict=True):
            yield {**section.keys, **row.keys, **column.keys}, cell


def _plain(value: Any) -> Any:
    """Return a fact as JSON types, numbers rounded."""
    return _round(value) if isinstance(value, float) else [*map(_plain, value)] if isinstance(value, tuple) else value


def _csv_facts(cell: Cell) -> dict[str, Any]:
    facts = {name: _plain(value) for name, value in cell.facts.items()}
    facts |= {f"{name}_{rule}": _plain(v) for rule, stat in cell.stats.items() for name, v in stat.facts.items()}
    return {name: "; ".join(map(str, v)) if isinstance(v, list) else v for name, v in facts.items()}


def comma_separated(table: Table) -> str:
    """Return the table as CSV, one line per cell, with both selection rules in columns."""
    cells = [entry for section in table.sections for entry in _flat(section)]
    names = list(dict.fromkeys(name for keys, _ in cells for name in keys))
    numbers = [f"{part}_{rule}" for rule in RULES for part in ("mean", "sd", "n")]
    facts = list(dict.fromkeys(name for _, cell in cells for name in _csv_facts(cell)))
    out = io.StringIO()
    writer = csv.DictWriter(
        out, [*names, "planned", "done", "rule", *numbers, *facts, "evaluation", "unfinished"], lineterminator="\n"
    )
    writer.writeheader()
    for keys, cell in cells:
        line: dict[str, Any] = {**keys, "planned": cell.planned, "done": len(cell.done), "rule": table.rule.name}
        for rule, stat in cell.stats.items():
            line |= {f"mean_{rule}": _round(stat.mean), f"sd_{rule}": _round(stat.sd), f"n_{rule}": stat.n}
        line |= _csv_facts(cell)
        line["evaluation"] = "; ".join(dict.fromkeys(run.evaluation for run in cell.done))
        line["unfinished"] = "; ".join(f"{count} {state}" for state, count in cell.states.items())
        writer.writerow(line)
    return out.getvalue()


def _json_stat(stat: Stat) -> dict[str, Any]:
    values = [_round(value) for value in stat.values]
    found = {"mean": _round(stat.mean), "sd": _round(stat.sd), "n": stat.n, "values": values, "text": stat.text}
    return {**found, **{name: _plain(value) for name, value in stat.facts.items()}}


def _json_cell(keys: dict[str, str], cell: Cell) -> dict[str, Any]:
    runs = [
        {"id": run.id, "seed": run.seed, "evaluation": run.evaluation, "split_sha256": run.split} for run in cell.done
    ]
    stats = {rule: _json_stat(stat) for rule, stat in cell.stats.items()}
    facts = {name: _plain(value) for name, value in cell.facts.items()}
    return {"coords": keys, "planned": cell.planned, "states": cell.states, "runs": runs, **facts, **stats}


def as_data(table: Table) -> dict[str, Any]:
    """Return the table as JSON types: sections of cells with both rules' mean, sd, n and values per seed, all in %."""
    sections = [
        {"title": section.title, "keys": dict(section.keys), "cells": [_json_cell(*entry) for entry in _flat(section)]}
        for section in table.sections
    ]
    missing = [
        {"id": run.id, "where": run.where, "seed": run.seed, "state": run.state, "status": run.status}
        for run in table.unfinished
    ]
    return {
        "name": table.name,
        "title": table.title,
        "rule": table.rule.name,
        "rule_of_grid": table.rule.grid,
        "unit": "%",
        "done": table.done,
        "planned": table.planned,
        "sections": sections,
        "warnings": list(table.warnings),
        "notes": list(table.notes),
        **{name: _plain(value) for name, value in table.facts.items()},
        "unfinished": missing,
    }


def as_json(table: Table) -> str:
    """Return :func:`as_data` as JSON text."""
    return json.dumps(as_data(table), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _latex(table: Table) -> str:
    from bench.report.formats import latex

    return latex.render(table)


def _html(table: Table) -> str:
    from bench.report.formats import html

    return html.render(table)


def _terminal(table: Table) -> str:
    from bench.report.formats import terminal

    return terminal.render(table)


# Formats that need a library import it when they are used, so that the others start fast.
FORMATS: dict[str, Callable[[Table], str]] = {
    "terminal": _terminal,
    "md": markdown,
    "csv": comma_separated,
    "latex": _latex,
    "html": _html,
    "json": as_json,
}


def render(table: Table, fmt: str) -> str:
    """Return the table as text in one of :data:`FORMATS`.

    Raises:
        BenchError: if there is no such format.
    """
    if fmt not in FORMATS:
        raise unknown("table format", fmt, FORMATS)
    return FORMATS[fmt](table)
