"""What a page says is what `table`, `plot` and the files of the runs say."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.page.drawing import draw
from bench.page.render import policy, render
from bench.report import records, tables
from bench.report.formats.render import render as as_text
from tests.bench.page.made import HOSTILE, SCRIPT, hostile, large, page, small, summary, written
from tests.bench.report.conftest import Store


class Seen(HTMLParser):
    """The elements of a page, and the text of each textarea by its id."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.areas: dict[str, str] = {}
        self.text = ""
        self._in: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "textarea":
            self._in = str(dict(attrs)["id"])
            self.areas[self._in] = ""

    def handle_endtag(self, tag: str) -> None:
        self._in = None if tag == "textarea" else self._in

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in is not None:
            self.areas[self._in] += data


def test_the_table_and_its_copies_are_those_of_table(store: Store, tmp_path: Path) -> None:
    small(store)
    html = written(store, tmp_path).read_text()
    grid = summary(store)
    for rule in ("last", "best"):
        made = tables.build(records.load(store.path, store.cells), grid, rule)
        for place, fmt in enumerate(("latex", "csv", "md"), 1):
            # The first line break after the tag isn't part of a textarea's text.
            assert Seen(html).areas[f"copy-{rule}-{place}"].removeprefix("\n") == as_text(
                replace(made, headline_only=fmt != "csv"), fmt
            )
        for row in made.sections[0].rows:
            for cell in row.cells:
                assert cell.stats[rule].text in html


def test_charts_say_the_numbers_of_the_table(store: Store, tmp_path: Path) -> None:
    small(store)
    found = page(store, tmp_path)
    (chart,) = found.results[0].charts
    lines = {line.name: line for line in chart.panels[0].lines}
    # seeds 0 and 1 of 40 and 41, and of 45 and 46
    assert [(p.x, p.y, p.text) for p in lines["supervised"].points] == [
        (20.0, 40.5, "20: 40.5 ± 0.7 (2)"),
        (100.0, 40.5, "100: 40.5 ± 0.7 (2)"),
    ]
    assert lines["reco"].points[0].low == pytest.approx(45.5 - 0.5**0.5)
    (convergence, *_) = found.charts
    steps = [(p.x, p.y, p.low, p.high) for p in convergence.panels[0].lines[0].points]
    assert steps == [(100, 30.5, 30.0, 31.0), (200, 37.5, 37.0, 38.0), (400, 40.5, 40.0, 41.0)]


def test_a_swept_hyperparameter_gets_a_chart(store: Store, tmp_path: Path) -> None:
    for threshold in ("0.7", "0.9", "0.95"):
        for seed in range(2):
            store.done(
                store.plan("fixmatch", "20", seed, **{"method.threshold": threshold}), 100 * float(threshold) + seed
            )
    sweep = page(store, tmp_path).results[0].charts[1]
    assert sweep.title == "Score over method.threshold"
    points = sweep.panels[0].lines[0].points
    assert [p.x for p in points] == [0.7, 0.9, 0.95]
    assert [p.y for p in points] == pytest.approx([70.5, 90.5, 95.5])


def test_a_value_that_is_no_number_has_its_place_beside_those_that_are(store: Store, tmp_path: Path) -> None:
    for norm, score in (("None", 4.0), ("1.0", 1.8), ("50.0", 4.1)):
        store.done(store.plan("supervised", "20", 0, **{"optimizer.clip_norm": norm}), score)
    sweep = page(store, tmp_path).results[0].charts[1]
    assert sweep.title == "Score over optimizer.clip_norm" and sweep.about.startswith("single runs")
    (panel,) = sweep.panels
    assert panel.x_ticks == ((0.0, "None"), (1.0, "1.0"), (2.0, "50.0"))
    assert [p.y for p in panel.lines[0].points] == pytest.approx([4.0, 1.8, 4.1])


def test_panels_have_one_range_and_the_legend_only_what_is_drawn(store: Store, tmp_path: Path) -> None:
    small(store)
    store.done(store.plan("reco", "20", 0, network="other"), 80.0, labelled_images=20)
    store.plan("classmix", "20", 0)
    (chart,) = page(store, tmp_path).results[0].charts
    assert set(chart.legend) == {"supervised", "reco"}
    low = 40.5 - 0.5**0.5
    assert [panel.also for panel in chart.panels] == [pytest.approx((low, 80.0))] * 2
    places = [[label for _, label in drawn.y_ticks] for panel in chart.panels if (drawn := draw(panel))]
    assert places[0] == places[1] == ["40", "50", "60", "70", "80"]


def test_what_failed_and_what_is_missing_is_said_and_leads_to_the_cell(store: Store, tmp_path: Path) -> None:
    small(store)
    html = written(store, tmp_path).read_text()
    failed = store.cells[-1].id
    assert f'href="#cell-{failed}"' in html and f'id="cell-{failed}"' in html
    problems = {one.kind: one.text for one in page(store, tmp_path).problems}
    assert "ValueError: no such crop" in problems["failed"]
    assert problems["missing"] == "1 of 8 cells are not done yet: 1 pending."


def test_a_cell_tells_what_its_run_recorded(store: Store, tmp_path: Path) -> None:
    small(store)
    run = store.path / store.cells[0].id
    attempt = {"attempt": 1, "device": "cpu", "cpu": "EPYC", "threads": 2, "packages": {"torch": "2.13.0"}}
    (run / "attempts.jsonl").write_text(json.dumps(attempt) + "\n")
    (run / "log.txt").write_text("".join(f"line {n}\n" for n in range(100)))
    cell = page(store, tmp_path).cells.cells[0]
    facts = {label: value for group in cell.groups for label, value in group.facts.items()}
    assert facts["split (SHA-256)"] == "5eed" * 16
    assert facts["torch"] == "2.13.0" and facts["device"] == "EPYC"
    assert facts["labelled images"] == "20" and facts["training and evaluation"] == "65 s"
    assert cell.log.splitlines() == [f"line {n}" for n in range(70, 100)]
    assert cell.curves[0].lines[0].texts == "100: 1\t200: 1\t400: 1"


@pytest.mark.parametrize("planned", [0, 3])
def test_a_grid_without_any_run_has_a_page(store: Store, tmp_path: Path, planned: int) -> None:
    for seed in range(planned):
        store.plan("reco", "20", seed)
    html = written(store, tmp_path).read_text()
    assert f"{planned} cells" in html


def test_no_text_from_outside_becomes_an_element(store: Store, tmp_path: Path) -> None:
    hostile(store)
    html = written(store, tmp_path, title=SCRIPT, source=f"title: {SCRIPT}\n").read_text()
    seen = Seen(html)
    assert [tag for tag, _ in seen.elements].count("script") == 1
    attributes = {name for _, attrs in seen.elements for name in attrs}
    assert not {name for name in attributes if name.startswith("on")}
    assert {tag for tag, _ in seen.elements}.isdisjoint({"iframe", "object", "embed", "base", "img"})
    links = {str(attrs["href"]) for tag, attrs in seen.elements if tag == "a"}
    assert all(link.startswith("#") for link in links)
    assert all(text in seen.text for text in HOSTILE)  # as it stands, for people to read


def test_the_page_loads_nothing_and_names_its_own_script(store: Store, tmp_path: Path) -> None:
    small(store)
    seen = Seen(written(store, tmp_path).read_text())
    sources = [
        attrs[name] for _, attrs in seen.elements for name in ("src", "srcset", "data", "action") if name in attrs
    ]
    assert sources == []
    assert not [attrs for _, attrs in seen.elements if "style" in attrs]
    (meta,) = [attrs["content"] for _, attrs in seen.elements if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert meta == policy(live=False)
    assert "default-src 'none'" in meta and "connect-src 'none'" in meta and "unsafe" not in meta


def test_a_hundred_runs_stay_below_five_megabytes(store: Store, tmp_path: Path) -> None:
    large(store)
    assert len(store.cells) == 100
    found = page(store, tmp_path)
    assert found.cells.without_details == 0
    assert len(render(found, "now").encode()) < 2_500_000  # as many bytes again are for pictures


def test_of_many_cells_those_that_failed_have_details(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.page.cells.DETAILED", 2)
    small(store)
    found = page(store, tmp_path).cells
    assert found.without_details == 6
    assert {cell.state for cell in found.cells if cell.groups} == {"failed", "done"}
    assert "8 cells; 6 without details" in written(store, tmp_path).read_text()


def test_what_is_no_log_or_no_metrics_hides_neither_the_page_nor_other_runs(store: Store, tmp_path: Path) -> None:
    small(store)
    store.change(0, iterations=400)
    run = store.path / store.cells[0].id
    for name in ("log.txt", "metrics.jsonl"):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)
    found = page(store, tmp_path)
    assert found.cells.cells[0].log == "log.txt: a FIFO" and found.charts[0].panels[0].lines
    (said,) = [one.text for one in found.problems if one.kind == "damaged"]
    assert said.startswith(f"{run.name}: metrics.jsonl is damaged or missing: its curve ends at step 0 of ")
