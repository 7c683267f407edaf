"""The rule `selected` in tables: beside the others where runs know it, `n/a` where they don't, absent where none does."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from bench.report import frame, pairs, records, tables
from bench.report.formats import csv as csv_format
from bench.report.formats import json as json_format
from bench.report.formats.view import views
from bench.report.model import Table
from bench.store.summary import Summary
from tests.bench.report.conftest import Store


def selected(miou: float, **more: Any) -> dict[str, Any]:
    score = {"step": 200, "miou": miou, "pixel_accuracy": 80.0, "iou": [miou, 30.0, None], "holdout_miou": 61.5}
    return {"selected": {**score, **more}, "holdout_images": 4}


@pytest.fixture
def mixed(store: Store, grid: Summary) -> Table:
    """Method a knows the rule, b in one of two runs, c not at all."""
    for seed in (0, 1):
        store.done(store.plan("a", "20", seed), 50.0 + seed, best=60.0, **selected(54.0 + 2 * seed))
        store.done(store.plan("b", "20", seed), 40.0, best=60.0, **(selected(41.0) if seed else {}))
        store.done(store.plan("c", "20", seed), 45.0, best=60.0)
    return tables.build(records.load(store.path, store.cells), grid, "selected")


def test_it_stands_beside_the_others(mixed: Table) -> None:
    cells = [row.cells[0] for row in mixed.sections[0].rows]
    # 54 and 56: mean 55, deviation sqrt(2)
    assert [cell.stats["selected"].text for cell in cells] == ["55.0 ± 1.4 (2)", "41.0 (1/2)", "n/a"]
    assert [cell.stats["last"].text for cell in cells] == ["50.5 ± 0.7 (2)", "40.0 ± 0.0 (2)", "45.0 ± 0.0 (2)"]
    assert mixed.rules == ["selected", "last", "best"]
    assert [view.title.split("rule ")[-1] for view in views(mixed)][1:] == [
        "'last', not the headline",
        "'best', not the headline",
    ]
    assert "highest mIoU on images held out of the labelled ones" in mixed.notes[0]
    lines = list(csv.DictReader(io.StringIO(csv_format.render(mixed))))
    assert [line["mean_selected"] for line in lines] == ["55.0", "41.0", ""]
    assert json.loads(json_format.render(mixed))["sections"][0]["cells"][0]["selected"]["values"] == [54.0, 56.0]


def test_per_class_pairs_and_rows(store: Store, grid: Summary, mixed: Table) -> None:
    runs = records.load(store.path, store.cells)
    body = tables.per_class(runs, grid, "selected").sections[0].rows
    assert [cell.stats["selected"].text for cell in body[0].cells] == ["55.0 ± 1.4 (2)", "41.0 (1/2)", "n/a"]
    assert [cell.stats["selected"].text for cell in body[2].cells] == ["absent", "absent", "n/a"]
    compared = pairs.build(runs, grid, "a", "b", "selected").sections[0].rows[0].cells[0]
    assert compared.stats["selected"].values == (None, 15.0)  # 56 - 41 for seed 1; for seed 0 b doesn't know it
    rows = frame.load(store.path, store.cells)
    assert rows["miou_selected"].tolist()[:2] == [54.0, pytest.approx(float("nan"), nan_ok=True)]
    assert (rows["miou_holdout"][0], rows["holdout_images"][0], rows["step_selected"][0]) == (61.5, 4, 200)


def test_where_no_run_knows_it_nothing_is_said_of_it(store: Store, grid: Summary) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    table = tables.build(records.load(store.path, store.cells), grid)
    assert table.rules == ["last", "best"]
    assert "selected" not in csv_format.render(table) + json_format.render(table)


def test_an_impossible_score_is_refused(store: Store) -> None:
    store.done(store.plan("a", "20", 0), 50.0, **selected(101.0))
    run = records.load(store.path, store.cells).records[0].run
    assert run.state == "damaged" and "selected.miou: Input should be less than or equal to 100" in run.reason
