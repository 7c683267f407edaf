"""Which weights a run keeps when it has ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from bench.cli.app import app
from bench.errors import BenchError
from bench.store.run import Run


def run_of(grid_file: Path, tmp_path: Path, *sets: str) -> tuple[Run, list[str]]:
    from bench.plan.jobs import make_jobs
    from bench.plan.request import Request
    from bench.plan.summary import make_plan
    from bench.run.worker import run_cell

    request = Request(str(grid_file), sets, (), tmp_path / "store")
    plan = make_plan(request)
    (job,), _ = make_jobs(plan, plan.cells, request, retry=False)
    run_cell(job)
    return Run(tmp_path / "store" / job.cell_id), ["--store", str(tmp_path / "store")]


def weights(run: Run) -> set[str]:
    return {path.stem.removeprefix("weights-") for path in run.path.glob("weights-*")}


@pytest.mark.parametrize(("kept", "there"), [("none", set()), ("best", {"best"})])
def test_what_is_kept(grid_file: Path, tmp_path: Path, kept: str, there: set[str]) -> None:
    also = "evaluation.also=[{mode: padded, size: [64, 64]}]"
    run, store = run_of(grid_file, tmp_path, f"resources.weights={kept}", also)
    assert weights(run) == there and run.is_done()
    assert len(list(run.evaluations.iterdir())) == 2  # made of both before they went
    image = tmp_path / "x.png"
    Image.new("RGB", (64, 64)).save(image)
    missing = ({"last", "best"} - there).pop()
    for verb, *more in (
        ("evaluate",),
        ("export", "-o", str(tmp_path / "out")),
        ("predict", str(image), "-o", str(tmp_path / "masks")),
    ):
        result = CliRunner().invoke(app, [verb, str(run.path), *more, "--select", missing, *store])
        assert isinstance(result.exception, BenchError), (verb, result.output)
        assert f"its '{missing}' weights weren't kept (resources.weights: {kept})" in str(result.exception)


def test_everything_is_kept_unless_asked_and_no_id_depends_on_it(grid_file: Path, tmp_path: Path) -> None:
    run, _ = run_of(grid_file, tmp_path)
    assert weights(run) == {"last", "best"} and "unkept" not in run.read_state()
    options = [str(grid_file), "--store", str(tmp_path / "store"), "--json", "--set", "resources.weights=none"]
    planned = json.loads(CliRunner().invoke(app, ["plan", *options]).stdout)
    assert [row["id"] for row in planned["cells"]] == [run.id] and planned["totals"] == {"done": 1}
