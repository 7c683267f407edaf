"""A tuned grid from its trials to its table: the same choice and bytes whether halved, killed or neither."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bench.cli.app import app
from bench.cli.rounds import runnable
from bench.errors import BenchError
from bench.files import read_json
from bench.plan.jobs import make_jobs
from bench.plan.leaving import choose_among_done
from bench.plan.request import Request
from bench.plan.summary import find_summary, make_plan, plan_and_keep
from bench.run.worker import run_cell
from bench.store.run import Run, State
from tests.bench.run.killing import run_in_child
from tests.conftest import GRID

KEPT = ("result.json", "metrics.jsonl", "weights-last.pt", "confusion-holdout-last.npz")


def request_of(
    folder: Path, store: str = "store", halving: bool = True, methods: tuple[str, ...] = ("supervised",), **tune: Any
) -> Request:
    content = yaml.safe_load(GRID)
    content["axes"] |= {"method": list(methods), "protocol": [{"few_labels": 6}], "seed": [0]}
    content["recipe"]["evaluation"] = {"every": 2}
    content["resources"] = {"threads": 1, "checkpoint_every": 3, "log_every": 1, "device": "cpu"}
    content["tune"] = {
        "trials": 3,
        "space": {"optimizer.lr": {"log_uniform": [0.001, 0.1]}},
        "select": {"images": 2},
        **({"halving": {"rungs": [0.25, 1.0], "keep": 0.5}} if halving else {}),
        **tune,
    }
    (folder / f"{store}.yaml").write_text(yaml.safe_dump(content))
    return Request(str(folder / f"{store}.yaml"), (), (), folder / store)


def go_on(request: Request, point: str | None = None, number: int = 0) -> bool:
    """Run the cells of one round in this process, or kill the first one in a child; tell whether there were any."""
    plan, _ = plan_and_keep(request)
    jobs, _ = make_jobs(plan, plan.runnable(), request, retry=False)
    for job in jobs:
        if point is not None:
            run_in_child(job, point, number)
            return True
        run_cell(job)
    return bool(jobs)


def finished(request: Request) -> dict[str, dict[str, bytes]]:
    """Run a grid to its end; return the files of its runs that are done, by id."""
    while go_on(request):
        pass
    found = {}
    for path in request.store.iterdir():
        if (path / "result.json").exists():
            found[path.name] = {name: (path / name).read_bytes() for name in KEPT if (path / name).exists()}
    return found


def test_stopped_halved_and_killed_runs_end_alike(tmp_path: Path) -> None:
    whole = finished(request_of(tmp_path, "whole", halving=False))
    halved = request_of(tmp_path, "halved")
    assert go_on(halved, "step", 2)  # killed before the first rung
    files = finished(halved)
    plan = make_plan(halved)
    assert len(plan.trials) == 3 and len(whole) == 3 + 1
    states = [Run(halved.store / trial.cell.id).read_state()["state"] for trial in plan.trials]
    assert states.count(State.STOPPED.value) == 1 and states.count(State.DONE.value) == 2
    trials = {trial.cell.id for trial in plan.trials}
    for name, content in files.items():
        if name in trials:  # stopped at a rung and gone on: the bytes of a trial that never stopped
            assert content == whole[name]
    assert all(not cell.waits for cell in plan.cells)
    same = set(files) & set(whole) - trials  # halving may choose another setting; where it doesn't, the run is the same
    assert all(files[name] == whole[name] for name in same)


def test_reported_cells_get_the_chosen_setting_and_all_labels(tmp_path: Path) -> None:
    request = request_of(tmp_path)
    plan = make_plan(request)
    assert all(cell.waits for cell in plan.cells) and {c.until for c in plan.runnable()} == {2}
    files = finished(request)
    plan = make_plan(request)
    assert plan.tuned is not None
    for group, cell in zip(plan.tuned.groups, plan.cells, strict=True):
        assert group.outcome is not None and group.outcome.chosen is not None
        chosen = group.trials[group.outcome.chosen].settings
        assert cell.cell.optimizer.lr == chosen.get("optimizer.lr", 0.05)
        assert cell.cell.evaluation.holdout is None
        result = json.loads(files[cell.cell.id]["result.json"])
        assert result["labelled_images"] == 6 and "holdout_images" not in result
    trial = read_json(request.store / plan.trials[0].cell.id / "cell.json")
    assert trial["coords"]["trial"] == "0" and trial["spec"]["seeds"] == {"split": 100, "init": 100, "data": 100}
    assert json.loads(files[plan.trials[0].cell.id]["result.json"])["holdout_images"] == 2


def test_verbs(tmp_path: Path) -> None:
    """A failed trial is waited for, and named; the table shows what stood behind its rows."""
    request = request_of(tmp_path, halving=False, methods=("supervised", "mean_teacher"), trials=2)

    def bench(*words: str, code: int = 0) -> str:
        plan_and_keep(request)  # else each view would plan in a process of its own
        result = CliRunner().invoke(app, [*words, request.grid, "--store", str(request.store)])
        if isinstance(result.exception, BenchError):
            return str(result.exception)
        assert result.exit_code == code, result.output
        return result.output

    plan, _ = plan_and_keep(request)
    jobs, _ = make_jobs(plan, plan.runnable(), request, retry=False)
    for job in jobs[1:]:
        run_cell(job)
    assert "supervised: open" in bench("tune") and "mean_teacher: trial" in bench("tune")
    assert "waits for trial 0" in bench("tune", "--explain")
    summary = find_summary(request)
    assert summary.freshness.chosen[0] is None and summary.freshness.chosen[1] is not None
    with pytest.raises(BenchError, match="has no `tune` section"):
        choose_among_done(replace(make_plan(request), tuned=None), request)
    choose_among_done(make_plan(request), request)
    finished(request)
    table = bench("table")
    assert "1 of 2" in table and "Rows have different numbers of trials" in table
    assert "Chosen for supervised: " in table
    facts = json.loads(bench("table", "--json"))["tuning"]
    assert [one["compared"] for one in facts] == [1, 2] and facts[0]["scores"][0]["state"] == "left out"
    rows = json.loads(bench("table", "--runs", "--json"))
    assert [row["role"] for row in rows] == ["trial"] * 4 + ["reported"] * 2
    assert "Choice of hyperparameters" in bench("describe")
    assert "has no `tune` section" in str(
        CliRunner().invoke(app, ["tune", "demo", "--store", str(request.store)]).exception
    )


def test_trials_that_a_rung_keeps_go_on_without_those_that_are_left_out(tmp_path: Path) -> None:
    request = request_of(tmp_path, trials=4)
    plan, _ = plan_and_keep(request)
    jobs, _ = make_jobs(plan, plan.runnable(), request, retry=False)
    with pytest.raises(BenchError, match=r"no trial of .* is far enough"):
        choose_among_done(plan, request)
    for job in jobs[1:]:
        run_cell(job)
    found = choose_among_done(make_plan(request), request)
    kept = found.runnable()
    assert len(kept) == 2 and {one.until for one in kept} == {None}
    assert jobs[0].cell_id not in {one.cell.id for one in kept}
    with pytest.raises(BenchError, match=r"no trial of .* is far enough"):  # neither of the two has its end
        choose_among_done(found, request)
    run_cell(make_jobs(found, kept[:1], request, retry=False)[0][0])
    assert not any(cell.waits for cell in choose_among_done(make_plan(request), request).cells)


def test_only_names_cells_that_wait_without_an_error(tmp_path: Path) -> None:
    request = request_of(tmp_path, trials=2)
    plan, _ = plan_and_keep(request)
    assert len(runnable(plan, None)) == len(runnable(plan, "seed=100")) == 2
    assert runnable(plan, "seed=0") == []
    with pytest.raises(BenchError, match="unknown value of --only seed"):
        runnable(plan, "seed=7")


def test_val_as_in_the_papers_is_marked(tmp_path: Path) -> None:
    request = request_of(tmp_path, halving=False, trials=2, select={"on": "val-as-in-the-papers"})
    finished(request)
    plan_and_keep(request)
    text = CliRunner().invoke(app, ["table", request.grid, "--store", str(request.store)]).output
    assert "2 on val" in text and "chosen on the evaluated images themselves" in text


@pytest.mark.parametrize("verb", ["plan", "status"])
def test_views_before_anything_ran(tmp_path: Path, verb: str) -> None:
    request = request_of(tmp_path)
    plan_and_keep(request)
    result = CliRunner().invoke(app, [verb, request.grid, "--store", str(request.store), "--json"])
    assert json.loads(result.output)["totals"] == {"pending": 4}
