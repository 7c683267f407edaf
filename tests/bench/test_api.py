"""Frames for notebooks hold every run with every hyperparameter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bench import api
from bench.cli.app import app
from bench.errors import BenchError
from bench.files import read_json, read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.summary import plan_and_keep
from bench.run.worker import run_cell
from bench.store.run import Run, State
from tests.conftest import GRID


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of two seeds, one of them done."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "grid.yaml").write_text(
        GRID.replace("seed: [0]", "seed: [0, 1]") + "resources: {threads: 1, device: cpu}\n"
    )
    request = api.request(folder / "grid.yaml", folder / "store")
    plan, _ = plan_and_keep(request)
    jobs, _ = make_jobs(plan, plan.cells, request, retry=False)
    assert run_cell(jobs[0]) is State.DONE
    return folder / "grid.yaml"


def test_a_frame_has_what_was_recorded_and_all_hyperparameters(grid: Path, tmp_path: Path) -> None:
    store = grid.parent / "store"
    runs = api.frame(grid, store)
    assert runs.attrs == {"version": 1, "grid": "grid", "select": "last"}
    assert list(runs["state"]) == ["done", "pending"] and list(runs["seed"]) == [0, 1]
    assert list(runs["hp.optimizer.lr"]) == [0.05, 0.05] and list(runs["hp.seeds.init"]) == [0, 1]
    run = Run(store / runs["id"][0])
    spec, result = read_json(run.cell)["spec"], read_json(run.result)
    assert runs["miou_last"][0] == result["last"]["miou"]
    for section in ("method", "network", "schedule", "augmentation", "numerics"):
        for key, value in spec[section].items():
            if isinstance(value, (int, float, str)):
                assert runs[f"hp.{section}.{key}"][0] == value
    assert runs["hp.schedule.batch.labelled"][0] == 2 and json.loads(runs["hp.augmentation.scale"][0]) == [0.75, 1.5]
    steps = {row["step"]: row["eval"]["miou"] for row in read_jsonl(run.metrics) if "eval" in row}
    curve = api.curves(grid, store=store)
    assert dict(zip(curve["step"], curve["value"], strict=True)) == steps
    row = api.per_class(grid, store=store).loc[run.id]
    wanted = zip(result["classes"], result["last"]["iou"], strict=True)
    assert all(row[name] == iou or (iou is None and pd.isna(row[name])) for name, iou in wanted)
    for name in ("runs.csv", "runs.parquet"):
        done = CliRunner().invoke(app, ["frame", str(grid), "--store", str(store), "-o", str(tmp_path / name)])
        assert done.exit_code == 0 and "2 runs" in done.output
    raw = CliRunner().invoke(app, ["frame", str(grid), "--raw", "-o", str(tmp_path / "runs.parquet")])
    assert "--raw --output" in str(raw.exception)
    written = pd.read_parquet(tmp_path / "runs.parquet"), pd.read_csv(tmp_path / "runs.csv")
    assert all(list(one.columns) == list(runs.columns) and list(one["id"]) == list(runs["id"]) for one in written)


def test_what_the_api_refuses_it_names(grid: Path) -> None:
    with pytest.raises(BenchError, match="unknown rule 'Last'"):
        api.per_class(grid, rule="Last", store=grid.parent / "store")
    with pytest.raises(BenchError, match="nope: no such folder"):
        api.predictor("nope")
    trained = api.predictor(next((grid.parent / "store").glob("toy*_s0-*")))
    for image in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)):
        with pytest.raises(BenchError, match=r"an image is an array \(H, W, 3\) of uint8, RGB; this one is \(8, 8"):
            trained.predict(image)  # type: ignore[arg-type]
