"""A table as GitHub-flavoured Markdown."""

from __future__ import annotations

import re

from bench.report import notes
from bench.report.formats.view import Line, TableView, views
from bench.report.model import Stat, Table


def escape(text: str) -> str:
    """Return `text` with everything that Markdown would take for markup escaped."""
    text = re.sub(r"([\\`*\[\]<>|~&#])", r"\\\1", text)
    # An underscore inside a word is literal; `few_labels` stays readable.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def _cell(stat: Stat) -> str:
    text = escape(stat.text)
    return f"**{text}**" if stat.bold else text


def _line(line: Line) -> list[str]:
    labels = [escape(label) for label in line.labels]
    if line.minor:
        labels[0] = f"*{labels[0]}*"
    return [*labels, *map(_cell, line.cells)]


def _view(view: TableView) -> str:
    rows = [
        [escape(title) for title in view.header],
        ["---" if i < view.labels else "---:" for i in range(len(view.header))],
        *map(_line, view.body),
    ]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"### {escape(view.title)}\n\n{lines}\n"


def render(table: Table) -> str:
    """Return the table as GitHub-flavoured Markdown."""
    lines = [f"**Warning:** {escape(text)}\n" for text in table.warnings]
    below = [f"- {escape(text)}" for text in table.notes]
    below += [f"  - {escape(text)}" for text in notes.missing(table)]
    parts = [f"## {escape(table.title)}\n", *lines, *map(_view, views(table)), "\n".join(below)]
    return "\n".join(parts) + "\n"
