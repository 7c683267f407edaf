"""Throughputs: what is measured, what runs leave behind, and the hours that follow from both."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from bench.cli.app import app
from bench.cost.clock import PHASES, StepClock, shown
from bench.files import read_json
from bench.phases import phase
from bench.plan.cells import Plan
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.worker import run_cell
from bench.store.run import Run, State
from bench.store.throughput import Throughput, evaluations, keep, project, shape_key

SLOW = Throughput(2.0, 30.0, "abacus", "speed")


def make(grid_file: Path, *sets: str) -> Plan:
    return make_plan(Request(str(grid_file), sets, (), grid_file.parent / "store"))


def test_time_within_an_inner_phase_is_not_the_outer_ones() -> None:
    clock = StepClock(torch.device("cpu"))
    with clock, phase("student"):
        time.sleep(0.02)
        with phase("loss reco"):
            time.sleep(0.05)
    assert clock.seconds["losses"] == pytest.approx(0.05, abs=0.03)
    assert clock.seconds["student"] == pytest.approx(0.02, abs=0.03)
    assert clock.seconds["losses"] > clock.seconds["student"]
    assert set(clock.seconds) == set(PHASES)


@pytest.mark.parametrize(
    ("name", "group"),
    [("loss supervised", "losses"), ("ema", "optimizer"), ("augment", "augment+mix"), ("a plug-in's own", "other")],
)
def test_every_phase_is_shown_somewhere(name: str, group: str) -> None:
    assert shown(name) == group


def test_hours_follow_from_paces_by_hand(grid_file: Path) -> None:
    plan = make(
        grid_file, "seed=[0, 1]", "method=[supervised, classmix]", "schedule.iterations=8", "evaluation.every=3"
    )
    store, cells = grid_file.parent / "store", [p.cell for p in plan.cells]
    assert evaluations(cells[0]) == 3  # after 3, 6 and 8 steps
    assert (project(cells, store).cells, project(cells, store).unknown) == (0, 4)
    keep(store, next(p.cell for p in plan.cells if p.coords["method"] == "classmix"), SLOW)
    found = project(cells, store)
    assert (found.cells, found.unknown, found.hardware) == (2, 2, ("abacus",))
    assert found.seconds == 2 * (8 * 2.0 + 3 * 30.0)


def test_seeds_and_length_share_a_pace_and_the_batch_does_not(grid_file: Path) -> None:
    keys = [
        shape_key(make(grid_file, *sets).cells[0].cell)
        for sets in ((), ("seed=[5]", "schedule.iterations=99", "optimizer.lr=0.5"), ("schedule.batch.labelled=3",))
    ]
    assert keys[0] == keys[1] != keys[2]


def test_the_last_pace_counts(grid_file: Path) -> None:
    plan, store = make(grid_file), grid_file.parent / "store"
    cell = plan.cells[0].cell
    keep(store, cell, SLOW)
    keep(store, cell, Throughput(1.0, 0.0, "abacus", "speed"))
    assert project([cell], store).seconds == 8.0


@pytest.mark.parametrize("content", ["{", "[]", '{"pace": 1}', "null"])
def test_a_damaged_pace_is_as_good_as_none(grid_file: Path, content: str) -> None:
    store, cell = grid_file.parent / "store", make(grid_file).cells[0].cell
    keep(store, cell, SLOW)
    [path] = (store / ".cache" / "pace").iterdir()
    path.write_text(content)
    assert project([cell], store).unknown == 1


def test_a_finished_run_leaves_its_pace(grid_file: Path) -> None:
    plan, store = make(grid_file, "resources.threads=1"), grid_file.parent / "store"
    request = Request(str(grid_file), (), (), store)
    [job] = make_jobs(plan, plan.cells, request, retry=False)[0]
    assert run_cell(job) is State.DONE
    cost = read_json(Run(store / job.cell_id).cost)
    assert project([plan.cells[0].cell], store).seconds == pytest.approx(cost["seconds"])
    assert 0 < cost["evaluation_seconds"] < cost["seconds"]


def test_speed_measures_each_shape_once_and_leaves_no_run(grid_file: Path) -> None:
    store = grid_file.parent / "store"
    options = ["--grid", str(grid_file), "--steps", "2", "--store", str(store), "--set", "seed=[0, 1]"]
    said = CliRunner().invoke(app, ["speed", *options, "--profile", "--json"])
    assert said.exit_code == 0, said.output
    [row] = json.loads(said.output[said.output.index("{") :])["cells"]
    assert row["images_per_second"] == pytest.approx(4 * row["steps_per_second"])  # 2 labelled, doubled
    assert row["phases"]["teacher"] == 0 < row["phases"]["backward"]
    assert any("conv" in o["name"] for o in row["operators"])
    assert not list(store.glob("toy*"))
    plan = CliRunner().invoke(app, ["plan", str(grid_file), "--store", str(store)])
    assert "one after the other, at the throughput of" in plan.output and "isn't known" not in plan.output
