"""A table as LaTeX with booktabs: one `table` environment per section and rule, the notes below the last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.report import notes
from bench.report.formats.latex_text import escape
from bench.report.formats.view import Line, TableView, views
from bench.report.model import Stat, Table


def _cell(stat: Stat) -> str:
    text = escape(stat.text)
    # \pm is set in bold only by \boldmath, which works outside math mode.
    return rf"\textbf{{\boldmath {text}}}" if stat.bold else text


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _body(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the lines of a table's body; a row with lines of its own is set apart from the next one."""
    after_minor = False
    for line in lines:
        labels = [escape(label) for label in line.labels]
        if line.minor:
            labels[0] = r"\quad " + labels[0]
        elif after_minor:
            yield r"\addlinespace"
        after_minor = line.minor
        yield _line([*labels, *map(_cell, line.cells)])


def _view(view: TableView, caption: str) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(caption)}}}",
            rf"\begin{{tabular}}{{{'l' * view.labels}{'r' * (len(view.header) - view.labels)}}}",
            r"\toprule",
            _line([escape(title) for title in view.header]),
            r"\midrule",
            *_body(view.body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def render(table: Table) -> str:
    """Return the table for a LaTeX document that uses booktabs. Names in other scripts than Latin and Greek need XeLaTeX."""
    below = [*(f"Warning: {text}" for text in table.warnings), *table.notes, *notes.missing(table)]
    text = " \\\\\n".join(escape(line) for line in below)
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}.",
            *(_view(view, f"{table.title}. {view.title}") for view in views(table)),
            rf"{{\footnotesize\raggedright\noindent {text}\par}}",
            "",
        ]
    )
