"""Stores of other versions: every earlier one is read, and a later one refused, by every verb."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import api
from bench.cli.app import app
from bench.errors import BenchError
from bench.files import read_json, write_json
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep
from bench.report import frame, records, tables
from bench.report.formats.render import render
from bench.run.worker import run_cell
from bench.store.bundle.merge import merge
from bench.store.run import Run
from bench.store.schema import SCHEMA, check_schema, note_schema, schema_of, schema_path
from bench.store.status import grid_status
from bench.store.summary import CellSummary, Summary

DATA = Path(__file__).parents[2] / "data"
KEPT = sorted(DATA.glob("store-*.yaml"))


def summary_of(store: Path) -> Summary:
    """Return the summary of a store's runs, as planning made it of their cells in its time."""
    found = []
    for order, path in enumerate(sorted(store.glob("*/cell.json"))):
        cell: dict[str, Any] = read_json(path)
        planned = {key: cell[key] for key in ("id", "slug", "coords")}
        found.append(CellSummary(**planned, order=order, iterations=cell["spec"]["schedule"]["iterations"]))
    return Summary(name="kept", cells=found)


def test_there_is_a_store_of_every_schema() -> None:
    assert [path.stem for path in KEPT] == [f"store-{number}" for number in range(1, SCHEMA + 1)]


@pytest.mark.parametrize("grid", KEPT, ids=lambda path: path.stem)
@pytest.mark.parametrize("numbered", [True, False])
def test_runs_of_earlier_versions_are_read(tmp_path: Path, grid: Path, numbered: bool) -> None:
    """Two runs that are done, one that failed; stores had no number at first."""
    store = tmp_path / "store"
    shutil.copytree(grid.with_suffix(""), store)
    if not numbered:
        schema_path(store).unlink()
    check_schema(store)
    summary = summary_of(store)
    state = grid_status(store, summary)
    assert state["totals"] == {"done": 2, "failed": 1}
    assert [(row["coords"]["seed"], row["state"], row["step"]) for row in state["cells"]] == [
        (0, "done", 8),
        (1, "done", 8),
        (2, "failed", 3),
    ]
    scores = {0: 78.6072056675655, 1: 77.58370932563201}
    rows = frame.load(store, summary.cells).set_index("seed")
    assert {seed: rows["miou_last"][seed] for seed in scores} == pytest.approx(scores)
    assert rows["state"][2] == "failed" and rows["reason"][2] == "RuntimeError: made to fail"
    table = render(tables.build(records.load(store, summary.cells), summary), "md")
    assert "78.1 ± 0.7 (2" in table  # of three


@pytest.mark.parametrize("grid", KEPT, ids=lambda path: path.stem)
def test_the_command_line_shows_them(tmp_path: Path, grid: Path) -> None:
    """As the grid's cells, or as stale where ids have moved since."""
    store = tmp_path / "store"
    shutil.copytree(grid.with_suffix(""), store)
    (tmp_path / "kept.yaml").write_bytes(grid.read_bytes())
    request = Request(str(tmp_path / "kept.yaml"), store=store)
    _, summary = plan_and_keep(request)
    state = grid_status(store, summary)
    shown = [row["state"] for row in state["cells"] if row["state"] != "pending"] + [
        row["state"] for row in state["stale"]
    ]
    assert sorted(shown) == ["done", "done", "failed"]
    assert schema_of(store) == SCHEMA
    for verb in (["status"], ["table"], ["table", "--runs"], ["frame", "-o", str(tmp_path / "runs.csv")]):
        done = CliRunner().invoke(app, [verb[0], request.grid, "--store", str(store), *verb[1:]])
        assert done.exit_code == 0, done.output
    assert (tmp_path / "runs.csv").read_text().count("\n") == 4


VERBS = [
    *(["plan", "GRID"], ["run", "GRID"], ["status", "GRID"], ["table", "GRID"], ["plot", "ratio", "GRID"]),
    *(
        ["frame", "GRID", "-o", "f.csv"],
        ["submit", "GRID", "--profile", "a"],
        ["report", "GRID", "-o", "x"],
        ["bundle", "GRID", "-o", "b.zip"],
    ),
    *(["merge", "a.zip"], ["doctor"], ["split", "toy", "full"], ["evaluate", "a"], ["memory", "memory"]),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_a_store_of_a_newer_version_is_refused_by_every_verb(
    tmp_path: Path, grid_file: Path, verb: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    write_json(schema_path(store), {"schema": SCHEMA + 1, "more": []})
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [str(grid_file) if word == "GRID" else word for word in verb] + ["--store", "store"])
    assert isinstance(done.exception, BenchError), done.output
    assert str(done.exception) == (
        f"store: a store of schema {SCHEMA + 1}, written by a newer version of the harness; this one reads up to {SCHEMA}: "
        "update this checkout (git pull), or give another store with --store"
    )
    assert [path.name for path in store.iterdir()] == [".store.json"]


def test_so_do_workers_notebooks_and_merges(tmp_path: Path, grid_file: Path) -> None:
    request = Request(str(grid_file), store=tmp_path / "store")
    plan, _ = plan_and_keep(request)
    jobs, _ = make_jobs(plan, plan.cells, request, retry=False)
    write_json(schema_path(request.store), {"schema": SCHEMA + 1})
    with pytest.raises(BenchError, match="newer version"):
        run_cell(jobs[0])
    assert not Run(request.store / jobs[0].cell_id).state.exists()
    with pytest.raises(BenchError, match="newer version"):
        api.request(grid_file, request.store)
    with pytest.raises(BenchError, match="newer version"):
        merge(tmp_path / "none.zip", request.store, keep_existing=False)


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"schema": "2"}', '{"schema": true}', '{"schema": -1}', "\0"])
def test_a_damaged_number_is_written_anew(tmp_path: Path, content: str) -> None:
    schema_path(tmp_path).write_text(content)
    check_schema(tmp_path)
    note_schema(tmp_path)
    assert read_json(schema_path(tmp_path)) == {"schema": SCHEMA}
