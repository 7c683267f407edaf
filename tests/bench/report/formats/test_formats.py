"""Formats: golden files byte for byte, and hostile names seen through an independent reader of each format.

After an intended change of a format, ``BENCH_UPDATE_GOLDEN=1 pytest tests/bench/report`` writes the golden files anew; look
at their diff.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from pydantic import TypeAdapter

from bench.errors import BenchError
from bench.report import records, tables
from bench.report.formats import html, terminal
from bench.report.formats.latex_text import escape
from bench.report.formats.render import FORMATS, render
from bench.report.formats.view import views
from bench.report.model import Table
from bench.store.run import Run
from bench.store.summary import CellSummary, Summary
from tests.bench.report.conftest import Store

DATA = Path(__file__).resolve().parents[3] / "data" / "report"
RUNNING = "camvid-classmix-full-s1"
HOSTILE = [
    "a | b",
    "<script>alert(1)</script>",
    "100 % & $x$ #1 _y_ {z} ~^",
    r"\input{secret} \\",
    "[red]*bold*[/] `code`",
    '=1+1, "quoted"',
    "@SUM(1)",
    "-2+cmd|' /C calc'!A0",
    "RC²L – é",
]


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """The tables of the golden runs, read from a copy of their store while one of them is under way."""
    store = tmp_path_factory.mktemp("golden") / "store"
    shutil.copytree(DATA / "store", store)
    cells = TypeAdapter(list[CellSummary]).validate_json((DATA / "cells.json").read_bytes())
    grid = Summary.model_validate_json((DATA / "grid.json").read_bytes())
    with Run(store / RUNNING).claim():
        runs = records.load(store, cells)
    return {
        "golden": tables.build(runs, grid),
        "golden-best": tables.build(runs, grid, "best"),
        "golden-per-class": tables.per_class(runs, grid),
    }


SUFFIXES = {"terminal": "txt", "md": "md", "csv": "csv", "latex": "tex", "html": "html", "json": "json"}
GOLDEN = [("golden", fmt) for fmt in FORMATS] + [("golden-best", "md"), ("golden-per-class", "md")]


@pytest.mark.parametrize(("name", "fmt"), GOLDEN)
def test_golden(golden: dict[str, Table], name: str, fmt: str) -> None:
    path = DATA / f"{name}.{SUFFIXES[fmt]}"
    made = render(golden[name], fmt)
    if os.environ.get("BENCH_UPDATE_GOLDEN"):
        path.write_bytes(made.encode())
    assert made.encode() == path.read_bytes()


@pytest.fixture
def hostile(store: Store, grid: Summary) -> Table:
    for i, name in enumerate(HOSTILE):
        store.done(store.plan(name, "20", 0), 50.0 + i, classes=[name, "car", "sign"])
        store.state(store.plan(name, "full|<b>", 0), "failed", reason=name)
    return tables.build(records.load(store.path, store.cells), grid.model_copy(update={"title": HOSTILE[1]}))


def test_markdown_shows_names_as_they_are(hostile: Table) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(render(hostile, "md"))
    assert not any(token.type == "html_block" for token in tokens)
    inline = [token for token in tokens if token.type == "inline"]
    children = [child for token in inline for child in token.children or []]
    assert {child.type for child in children} <= {"text", "strong_open", "strong_close"}
    shown = ["".join(child.content for child in token.children or []) for token in inline]
    for name in HOSTILE:
        assert name in shown


class Page(HTMLParser):
    """Collects the texts of header cells and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.headers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "th":
            self.headers.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "th":
            self.headers[-1] += data


def test_html_shows_names_as_they_are_and_loads_nothing(hostile: Table) -> None:
    page = Page()
    text = render(hostile, "html")
    page.feed(text)
    assert not {"script", "b", "link", "img", "iframe"} & set(page.tags)
    assert "http" not in text
    headers = [header.strip() for header in page.headers]
    for name in HOSTILE:
        assert name in headers
    assert html.fragment(hostile) in text


def test_csv_round_trips(hostile: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(render(hostile, "csv", raw=True))))
    assert [line["method"] for line in lines if line["labels"] == "20"] == HOSTILE
    assert [float(line["mean_last"]) for line in lines if line["mean_last"]] == [50.0 + i for i in range(len(HOSTILE))]
    assert {line["evaluation"] for line in lines if line["mean_last"]} == {"whole image, 180x240, val"}


def test_csv_holds_no_formula_unless_it_is_asked_for(hostile: Table) -> None:
    raw, safe = (list(csv.reader(io.StringIO(render(hostile, "csv", raw=raw)))) for raw in (True, False))
    changed = {(a, b) for one, other in zip(raw, safe, strict=True) for a, b in zip(one, other, strict=True) if a != b}
    assert changed == {(name, f"'{name}") for name in HOSTILE if name[0] in "=@-"}


def test_json_keeps_every_seed_and_every_missing_run(hostile: Table) -> None:
    data = json.loads(render(hostile, "json"))
    cells = data["sections"][0]["cells"]
    assert [cell["coords"]["method"] for cell in cells[::2]] == HOSTILE
    assert cells[0]["last"] == {"mean": 50.0, "sd": None, "n": 1, "values": [50.0], "text": "50.0 (1)"}
    assert cells[0]["runs"][0]["id"] == "run0000"
    assert [run["status"] for run in data["unfinished"]] == [f"failed: {name}" for name in HOSTILE]


def test_the_terminal_shows_names_as_they_are(hostile: Table) -> None:
    text = terminal.render(hostile, width=200)
    for name in HOSTILE:
        assert f" {name} " in text


def test_the_terminal_shows_titles_and_classes_as_they_are(store: Store, grid: Summary) -> None:
    store.done(store.plan("[b]a[/b]", "20", 0), 50.0, classes=["[red]road[/]", "[/]", "[0]"])
    titled = grid.model_copy(update={"title": "[bold]Grid[/bold] [1]"})
    text = terminal.render(tables.per_class(records.load(store.path, store.cells), titled), width=200)
    for name in ("[bold]Grid[/bold] [1]", "[b]a[/b]", "[red]road[/]", "[/]", "[0]"):
        assert name in text


def test_a_narrow_terminal_loses_no_number(hostile: Table) -> None:
    text = terminal.render(hostile, width=60)
    assert all(len(line) <= 60 for line in text.splitlines())
    assert f"{49 + len(HOSTILE)}.0 (1)" in text


# Everything that escape() may produce; what remains must be free of characters that mean something to LaTeX.
_ALLOWED = re.compile(
    r"\\[#$%&_{}]|\\'\{[a-z]\}|\\text[a-z]+\{[0-9]?\}|\\ldots\{\}|\$\\pm\$|\$\\times\$|\$\\tau\$|\$-\$|\{\[\}|\{\*\}|-\{\}|\]"
)


@pytest.mark.parametrize("name", [*HOSTILE, "--select", "a---b", "± × − … ³ τ"])
def test_latex_escapes_everything(name: str) -> None:
    rest = _ALLOWED.sub("", escape(name))
    assert not set(rest) & set('\\{}$&#^_~%<>|"`[*±×−…²³–—τ')
    assert "--" not in escape(name)


def test_latex_lines_have_as_many_cells_as_columns(hostile: Table) -> None:
    text = render(hostile, "latex")
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 1 + len(HOSTILE)
    assert all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in lines)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(list(views(hostile)))


def test_bold_in_every_format_for_people(golden: dict[str, Table]) -> None:
    table = golden["golden"]
    assert "**26.8 ± 0.8 (3)**" in render(table, "md")
    assert r"\textbf{\boldmath 26.8 $\pm$ 0.8 (3)}" in render(table, "latex")
    assert "<strong>26.8 ± 0.8 (3)</strong>" in render(table, "html")
    best = next(iter(views(table))).body[1][1][0]
    assert str(terminal._cell(best).style) == "bold"


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_grid_without_cells_still_renders(store: Store, grid: Summary, fmt: str) -> None:
    assert "0 of 0" in render(tables.build(records.load(store.path, []), grid), fmt) or fmt == "csv"


def test_an_unknown_format_is_an_error(hostile: Table) -> None:
    with pytest.raises(BenchError, match=r"unknown table format 'markdown'.*allowed: csv, html"):
        render(hostile, "markdown")
