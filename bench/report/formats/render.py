"""A table in the format that is asked for."""

from __future__ import annotations

from importlib import import_module

from bench.errors import unknown
from bench.report.model import Table

# A format's module is imported when it is used: some need a library, and the others start fast.
FORMATS = {
    "terminal": "bench.report.formats.terminal",
    "md": "bench.report.formats.markdown",
    "csv": "bench.report.formats.csv",
    "latex": "bench.report.formats.latex",
    "html": "bench.report.formats.html",
    "json": "bench.report.formats.json",
}


def render(table: Table, fmt: str, raw: bool = False) -> str:
    """Return the table as text in one of :data:`FORMATS`.

    Args:
        table: the table.
        fmt: the format's name.
        raw: of ``csv``: leave texts as they are that a spreadsheet would take for formulas.

    Raises:
        BenchError: if there is no such format.
    """
    if fmt not in FORMATS:
        raise unknown("table format", fmt, FORMATS)
    text: str = import_module(FORMATS[fmt]).render(table, **({"raw": True} if raw else {}))
    return text
