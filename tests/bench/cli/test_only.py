"""``status --only`` and ``logs --only``: the cells that are meant, by what they are and not by their ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bench.cli.app import app
from bench.cli.grids import viewed
from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.store.run import Run, State
from tests.conftest import GRID


@pytest.fixture
def grid(tmp_path: Path) -> tuple[str, Path]:
    """A grid of four cells: `mean_teacher` failed with seed 1, and the others are pending."""
    raw = yaml.safe_load(GRID)
    raw["axes"] |= {"method": ["supervised", "mean_teacher"], "seed": [0, 1]}
    path, store = tmp_path / "grid.yaml", tmp_path / "store"
    path.write_text(yaml.safe_dump(raw))
    for planned in make_plan(Request(str(path), (), (), store)).cells:
        run = Run(store / planned.cell.id)
        if (planned.coords["method"], planned.coords["seed"]) == ("mean_teacher", 1):
            run.path.mkdir(parents=True)
            run.write_state(State.FAILED, reason="a fault", step=2)
            run.log.write_text("what it printed\n")
    return str(path), store


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    app(list(words), standalone_mode=False)
    return capsys.readouterr().out


def test_status_of_some_cells(grid: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, store = grid
    of_all = json.loads(said(capsys, "status", path, "--store", str(store), "--json"))
    found = json.loads(said(capsys, "status", path, "--store", str(store), "--only", "method=mean_teacher", "--json"))
    assert of_all["totals"] == {"failed": 1, "pending": 3} and found["totals"] == {"failed": 1, "pending": 1}
    iterations = yaml.safe_load(GRID)["recipe"]["schedule"]["iterations"]
    assert found["progress"] == 2 / (2 * iterations) and of_all["progress"] == 2 / (4 * iterations)
    assert found["cells"] == [row for row in of_all["cells"] if row["coords"]["method"] == "mean_teacher"]
    table = said(capsys, "status", path, "--store", str(store), "--only", "method=mean_teacher")
    assert "(2 cells)" in table and "a fault" in table
    with pytest.raises(BenchError, match="--hours is of the whole grid"):
        said(capsys, "status", path, "--store", str(store), "--only", "seed=1", "--hours")


def test_what_slurm_and_the_files_disagree_on_is_told_of_these_cells_alone(grid: tuple[str, Path]) -> None:
    path, store = grid
    request = Request(path, (), (), store)
    for planned in make_plan(request).cells:
        run = Run(store / planned.cell.id)
        run.path.mkdir(parents=True, exist_ok=True)
        run.write_state(State.QUEUED, submission="gone", array=0, index=0)
    said_of = [
        [line.partition(":")[0] for line in viewed(request, only)["contradictions"]] for only in (None, "seed=1")
    ]
    ids = [row["id"] for row in viewed(request)["cells"]]
    assert said_of == [ids, [name for name in ids if "_s1-" in name]] and len(said_of[1]) == 2


def test_logs_of_the_one_cell_that_is_meant(grid: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, store = grid
    shown = said(capsys, "logs", path, "--store", str(store), "--only", "method=mean_teacher,seed=1")
    assert "failed: a fault" in shown and "what it printed" in shown
    with pytest.raises(BenchError, match=r"2 cells of grid match --only seed=1 --cell toy_few-labels-4_"):
        said(capsys, "logs", path, "--store", str(store), "--only", "seed=1", "--cell", "toy_few-labels-4_")
    with pytest.raises(BenchError, match=r"4 cells of grid; name one, such as --only"):
        said(capsys, "logs", path, "--store", str(store))
    with pytest.raises(BenchError, match=r"no cells of grid match --cell nothing"):
        said(capsys, "logs", path, "--store", str(store), "--cell", "nothing")


def test_the_last_word_of_an_axis_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = yaml.safe_load(GRID)
    raw["axes"] |= {"optimizer.lr": [0.1, 0.2], "evaluation.every": [2, 4]}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(raw))
    words = ("status", str(path), "--store", str(tmp_path / "store"), "--json", "--only")
    rows = json.loads(said(capsys, *words, "lr=0.2,every=4"))["cells"]
    assert [(row["coords"]["optimizer.lr"], row["coords"]["evaluation.every"]) for row in rows] == [("0.2", "4")]
    with pytest.raises(BenchError, match=r"unknown value of --only optimizer\.lr '0\.3'"):
        said(capsys, *words, "lr=0.3")
