"""A table with published figures and a paired comparison, from committed raw runs: every format byte for byte.

After an intended change, ``BENCH_UPDATE_GOLDEN=1 pytest tests/bench/report`` writes the files anew; look at their diff.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from bench.report import pairs, records, tables
from bench.report.formats import terminal
from bench.report.formats.render import FORMATS, render
from bench.report.model import Table
from bench.store.summary import Summary

DATA = Path(__file__).resolve().parents[3] / "data" / "published"
SUFFIXES = {"terminal": "txt", "md": "md", "csv": "csv", "latex": "tex", "html": "html", "json": "json"}


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """The tables of the golden runs, read from a copy of their store."""
    store = tmp_path_factory.mktemp("published") / "store"
    shutil.copytree(DATA / "store", store)
    summary = Summary.model_validate_json((DATA / "outline.json").read_bytes())
    runs = records.load(store, summary.cells)
    return {"golden": tables.build(runs, summary), "paired": pairs.build(runs, summary, "reco", "classmix")}


@pytest.mark.parametrize("name", ["golden", "paired"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_golden(golden: dict[str, Table], name: str, fmt: str) -> None:
    path = DATA / f"{name}.{SUFFIXES[fmt]}"
    made = render(golden[name], fmt)
    if os.environ.get("BENCH_UPDATE_GOLDEN"):
        path.write_bytes(made.encode())
    assert made.encode() == path.read_bytes()


def test_a_csv_names_each_column_once(golden: dict[str, Table]) -> None:
    for made in golden.values():
        (names, *_) = csv.reader(io.StringIO(render(made, "csv")))
        assert len(set(names)) == len(names)


def test_a_narrow_terminal_breaks_verdicts_rather_than_names(golden: dict[str, Table]) -> None:
    text = terminal.render(golden["golden"], width=70)
    assert all(len(line) <= 70 for line in text.splitlines())
    for whole in ("mean_teacher", "57.5 ± 0.8 (3)", "57.12 (1)", "not settled"):
        assert whole in text


def test_programs_read_what_people_read(golden: dict[str, Table]) -> None:
    data = json.loads(render(golden["golden"], "json"))
    found = {(c["coords"]["method"], c["coords"]["labels"]): c for c in data["sections"][0]["cells"]}
    cell = found["reco", "60"]
    # (57.2 + 58.6 + 58.5) / 3 = 58.1 is the mean of the best; the authors' checkpoint has 57.12, their best of 200.
    assert (cell["published_miou"], cell["published_n"], cell["difference"]) == (57.12, 1, 0.98)
    assert (cell["published_selection"], cell["published_evaluations"], cell["verdict_rule"]) == (
        "best-on-val",
        200,
        "best",
    )
    assert cell["gap_mean"] == 0.6
    assert cell["also_published"] == ["57.1 (arco, reprint)"]
    assert cell["verdict"] == "not settled"
    assert data["agreement"][0]["kendall_tau_b"] == 1.0
    lines = list(csv.DictReader(io.StringIO(render(golden["golden"], "csv"))))
    (line,) = [line for line in lines if (line["method"], line["labels"]) == ("reco", "60")]
    assert (line["published_miou"], line["difference"], line["verdict"]) == ("57.12", "0.98", "not settled")
