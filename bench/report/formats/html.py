"""A table as one self-contained HTML page, and as the fragment of a larger one."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from bench.report import notes
from bench.report.formats.view import views
from bench.report.model import Table

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("bench.report.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _render(template: str, table: Table) -> str:
    found = {"table": table, "views": list(views(table)), "missing": notes.missing(table)}
    return _environment().get_template(template).render(found)


def fragment(table: Table) -> str:
    """Return the table as an HTML `<section>` without styles; every text is escaped."""
    return _render("table.html", table)


def render(table: Table) -> str:
    """Return the table as a whole HTML page with its few styles inside: no script, nothing loaded from elsewhere."""
    return _render("page.html", table)
