"""Several predictors scored side by side: each as a run that predicts with it alone, in the table and over time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bench.cli.app import app
from bench.files import read_json, read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan, plan_and_keep
from bench.run.worker import run_cell
from bench.store.run import Run, State
from tests.conftest import GRID


def trained(folder: Path, method: dict[str, Any], predictors: str = "headline") -> tuple[Path, Run]:
    """Train one cell in a store of its own; return its grid and its run."""
    content = yaml.safe_load(GRID)
    content["recipe"]["evaluation"] = {"every": 3, "predictors": predictors}
    content["axes"]["method"] = [method]
    content["resources"] = {"threads": 1, "device": "cpu"}
    folder.mkdir()
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    request = Request(str(folder / "grid.yaml"), (), (), folder / "store")
    plan_and_keep(request)
    made = make_plan(request)
    (job,) = make_jobs(made, made.cells, request, retry=False)[0]
    assert run_cell(job) is State.DONE
    return folder / "grid.yaml", Run(folder / "store" / job.cell_id)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Run]]:
    folder = tmp_path_factory.mktemp("predictors")
    teacher = {"name": "mean_teacher", "ema_decay": 0.5}
    return {
        "all": trained(folder / "all", teacher, "all"),
        **{which: trained(folder / which, {**teacher, "predict_with": which}) for which in ("student", "mean")},
    }


def test_each_is_scored_as_by_a_run_that_predicts_with_it(scored: dict[str, tuple[Path, Run]]) -> None:
    found = read_json(scored["all"][1].result)["last"]
    assert found["predictor"] == "teacher" and set(found["predictors"]) == {"student", "mean"}
    for which in ("student", "mean"):
        alone = read_json(scored[which][1].result)["last"]
        assert "predictors" not in alone
        assert found["predictors"][which] == {key: alone[key] for key in ("miou", "pixel_accuracy", "iou")}
    assert len({found["miou"], *(one["miou"] for one in found["predictors"].values())}) > 1


def test_the_rest_of_the_run_is_as_without(scored: dict[str, tuple[Path, Run]]) -> None:
    def curve(which: str) -> dict[int, float]:
        return {row["step"]: row["eval"]["miou"] for row in read_jsonl(scored[which][1].metrics) if "eval" in row}

    rows = [row for row in read_jsonl(scored["all"][1].metrics) if "eval" in row]
    assert {row["step"]: row["logged"]["mIoU of student"] for row in rows} == curve("student")
    assert {row["step"]: row["logged"]["mIoU of mean"] for row in rows} == curve("mean")
    losses = [[row["losses"] for row in read_jsonl(run.metrics) if "losses" in row] for _, run in scored.values()]
    assert losses[0] == losses[1] == losses[2]


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_table_of_a_predictor(scored: dict[str, tuple[Path, Run]]) -> None:
    grid, run = scored["all"]
    asked = ("table", grid, "--store", run.path.parent)
    result = read_json(run.result)
    for name, expected in {"teacher": result["last"], **result["last"]["predictors"]}.items():
        done = invoke(*asked, "--predictor", name, "--json")
        table = json.loads(done.stdout)
        (cell,) = table["sections"][0]["cells"]
        assert cell["last"]["values"] == [round(expected["miou"], 4)]
        assert any(f"predicted by the {name}" in note for note in table["notes"])
    best = json.loads(invoke(*asked, "--predictor", "student", "--json").stdout)["sections"][0]["cells"][0]["best"]
    assert best["values"] == [round(result["best"]["predictors"]["student"]["miou"], 4)]
    assert "did you mean 'student'" in str(invoke(*asked, "--predictor", "studnet").exception)
    assert "leave --runs" in str(invoke(*asked, "--predictor", "student", "--runs").exception)
    alone, other = scored["student"]
    refused = invoke("table", alone, "--store", other.path.parent, "--predictor", "teacher")
    assert "unknown predictor 'teacher'" in str(refused.exception)


def test_a_method_without_it_is_pending(scored: dict[str, tuple[Path, Run]], tmp_path: Path) -> None:
    grid, run = scored["all"]
    content = yaml.safe_load(grid.read_text())
    content["axes"]["method"].append("fixmatch")
    (both := tmp_path / "both.yaml").write_text(yaml.safe_dump(content))
    request = Request(str(both), (), (), run.path.parent)
    plan_and_keep(request)
    made = make_plan(request)
    jobs = make_jobs(made, made.cells, request, retry=False)[0]
    assert [run_cell(job) for job in jobs] == [State.DONE] * len(jobs)
    table = json.loads(invoke("table", both, "--store", run.path.parent, "--predictor", "mean", "--json").stdout)
    assert table["warnings"] and "no score of a predictor `mean`" in table["warnings"][0]
    assert [cell["last"]["n"] for cell in table["sections"][0]["cells"]] == [1, 0]
    table = json.loads(invoke("table", both, "--store", run.path.parent, "--predictor", "student", "--json").stdout)
    assert [cell["last"]["n"] for cell in table["sections"][0]["cells"]] == [1, 1]
