"""Grids on a real Slurm: submitted by one shell, watched by another, through everything that a cluster does to them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.files import read_json, read_jsonl
from bench.store.run import Run
from slurm import records
from tests.slurm import chaos
from tests.slurm.cluster import ROOT, Cluster, is_worker, wait_until

pytestmark = pytest.mark.slurm

RECIPE = {
    "dataset": "toy",
    "network": {"name": "deeplabv3plus", "backbone": "tiny"},
    "augmentation": {"reco": {"crop_size": 32}},
    "schedule": {"iterations": 12, "batch": {"labelled": 2, "unlabelled": 2}},
    "evaluation": {"every": 6, "batch_size": 6},
}
RESOURCES = {"threads": 1, "checkpoint_every": 4, "log_every": 2}


def write_grid(folder: Path, axes: dict[str, Any], **more: Any) -> Path:
    recipe = {**RECIPE, **more.pop("recipe", {})}
    path = folder / f"{more.pop('name', 'grid')}.yaml"
    path.write_text(yaml.safe_dump({"recipe": recipe, "axes": axes, "resources": RESOURCES, **more}))
    return path


class Grid:
    """A grid in a store of its own, and the verbs a user would type."""

    def __init__(self, cluster: Cluster, folder: Path, axes: dict[str, Any], **more: Any) -> None:
        self.cluster, self.store = cluster, folder / "store"
        self.path = write_grid(folder, axes, **more)

    def __call__(self, verb: str, *arguments: Any, code: int | None = 0, **environment: str) -> str:
        more: list[Any] = ["--yes"] if verb in ("submit", "retry", "cancel") else []
        if verb in ("submit", "retry") and "--profile" not in arguments:
            more += ["--profile", "testcluster"]
        return self.cluster.bench(verb, self.path, *arguments, *more, "--store", self.store, code=code, **environment)

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self("status", "--json"))["cells"]
        return found

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]


def profile(folder: Path, **values: Any) -> Path:
    path = folder / "profile.yaml"
    text = {"extends": "testcluster", **values}
    path.write_text(yaml.safe_dump(text))
    return path


LONG = {"schedule": {"iterations": 60, "batch": {"labelled": 2, "unlabelled": 2}}}


@pytest.fixture(scope="module", autouse=True)
def limited(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """A cell of more than a minute under a limit of a minute, which goes its way while the other tests run."""
    folder = tmp_path_factory.mktemp("limited")
    method = {"name": "bad", "how": "not", "pause": 1.0}
    grid = Grid(cluster, folder, {"method": [method], "protocol": ["full"], "seed": [0]}, recipe=LONG)
    grid("submit", "--profile", profile(folder, time=1, grace=40))
    return grid


def test_the_table_is_that_of_a_local_run_to_the_last_digit(cluster: Cluster, tmp_path: Path) -> None:
    methods = ["supervised", "mean_teacher", "classmix", {"name": "reco", "num_queries": 8, "num_negatives": 8}, "rc2l"]
    grid = Grid(cluster, tmp_path, {"method": methods, "protocol": ["full"], "seed": [0]})
    said = grid("submit")
    assert "5 cells: job" in said
    said = grid("submit")  # nothing twice
    assert "nothing to submit" in said
    grid("wait")
    there = cluster.bench("table", grid.path, "--store", grid.store, "--format", "csv")
    here = tmp_path / "here"
    cluster.bench("run", grid.path, "--store", here, "--workers", "2")
    assert cluster.bench("table", grid.path, "--store", here, "--format", "csv") == there
    rows = grid.rows()
    for row in rows:
        for name in ("result.json", "metrics.jsonl"):
            assert (grid.store / row["id"] / name).read_bytes() == (here / row["id"] / name).read_bytes()
    assert {row["slurm"] for row in rows} == {"COMPLETED"}
    assert all(row["node"] in ("n1", "n2", "n3") for row in rows)
    attempt = next(read_jsonl(Run(grid.store / rows[0]["id"]).attempts))
    assert attempt["slurm"]["job_partition"] == "main"
    assert attempt["snapshot"] and attempt["cores"] == 1
    # without Slurm, and after its ids are gone, the files alone tell
    status = json.loads(grid("status", "--json", PATH=no_slurm(tmp_path)))
    assert status["totals"] == {"done": 5}
    assert "squeue is not installed" in status["slurm_error"]


def no_slurm(folder: Path) -> str:
    """Return a PATH with what the harness needs, and no Slurm."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    for name in ("git", "python3", "sh"):
        found = shutil.which(name)
        if found and not (path / name).exists():
            (path / name).symlink_to(found)
    return str(path)


def test_every_ending_has_its_state_and_its_log(cluster: Cluster, tmp_path: Path) -> None:
    bad = [{"name": "bad", "how": how, "label": how} for how in ("nan", "memory", "bug", "disk")]
    slow = [
        {"name": "bad", "how": "not", "pause": 5.0, "label": name} for name in ("cancelled", "timed", "killed", "held")
    ]
    for number, entry in enumerate(slow):
        entry["pause"] = 5.0 + number / 100  # four different cells
    grid = Grid(cluster, tmp_path, {"method": [*bad, *slow], "protocol": ["full"], "seed": [0]})
    grid("submit", "--only", "method=timed", "--profile", profile(tmp_path, time=1, grace=45, max_requeues=0))
    grid("submit", "--only", "method=held", "--profile", profile(tmp_path, options={"hold": True}))
    for how in ("nan", "memory", "bug", "disk"):
        grid("submit", "--only", f"method={how}")
    grid("submit", "--only", "method=cancelled")  # these two last: they must still run when it is their turn
    grid("submit", "--only", "method=killed")

    def state() -> dict[str, dict[str, Any]]:
        return {row["coords"]["method"]: row for row in grid.rows()}

    wait_until(lambda: state()["cancelled"]["state"] == "running", 120, "the cell to be cancelled runs")
    grid("cancel", "--only", "method=cancelled")
    grid("cancel", "--only", "method=held")
    wait_until(lambda: state()["killed"].get("step", 0) >= 1, 90, "the cell to be killed has taken a step")
    # an operator cancels behind our back, and a process is killed as the kernel does it
    (worker,) = (p for p in cluster.processes({"SLURM_JOB_ID": state()["killed"]["job"]}) if is_worker(p))
    os.kill(worker, 9)
    ended = {"nan", "memory", "bug", "disk", "timed", "killed", "cancelled", "held"}
    wait_until(lambda: not {"running", "queued"} & {state()[n]["state"] for n in ended}, 180, "all have ended")
    found = {name: row["state"] for name, row in state().items()}
    assert found == {
        "nan": "diverged",
        "memory": "out-of-memory",
        "bug": "failed",
        "disk": "failed",
        "cancelled": "cancelled",
        "held": "cancelled",
        "timed": "timed-out",
        "killed": "failed",
    }
    rows = state()
    assert "ZeroDivisionError: a bug in two lines" in rows["bug"]["reason"]
    assert "the disk is full" in rows["disk"]["reason"]
    assert "max_requeues is 0" in rows["timed"]["reason"]
    assert "Slurm says FAILED" in rows["killed"]["reason"]
    log = grid("logs", "--cell", rows["bug"]["id"])
    assert "a bug" in log and "Traceback" in log and "failed: ZeroDivisionError" in log
    # `retry` takes what it is told and nothing else; a cancelled cell goes on with `submit --cancelled`
    said = grid("retry", "--state", "oom", "--dry-run")
    assert said.startswith("left alone") and "1 cell in 1 task" in said
    assert "left alone: 2 cancelled" in grid("submit", "--dry-run")
    assert "2 cells in 2 tasks" in grid("submit", "--cancelled", "--dry-run")
    text = grid("status")
    assert all(word in text for word in ("timed-out", "out-of-memory", "diverged", "cancelled", "failed"))


def test_a_bad_node_is_named_and_the_cells_go_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    methods = [{"name": "bad", "how": "not", "node": "n1", "pause": 0.01 * i} for i in range(3)]
    grid = Grid(cluster, tmp_path, {"method": methods, "protocol": ["full"], "seed": [0]})
    grid(
        "submit",
        "--profile",
        profile(tmp_path, options={"nodelist": "n1"}, retries={"infrastructure": 0}),
        "--only",
        "seed=0",
    )
    grid("wait", code=1)
    assert grid.states() == ["failed"] * 3
    status = json.loads(grid("status", "--json"))
    assert "3 cells failed there; " in status["bad_nodes"]["n1"]
    only_n1 = profile(tmp_path, options={"nodelist": "n1"})
    assert "not leaving out n1" in grid("retry", "--profile", only_n1, "--dry-run")  # no other node could take the job
    said = grid("retry")
    assert "leaving out node n1: 3 cells" in said
    grid("wait")
    assert {row["node"] for row in grid.rows()} <= {"n2", "n3"}


def test_a_cell_that_a_node_fails_at_once_moves_by_itself(cluster: Cluster, tmp_path: Path) -> None:
    method = {"name": "bad", "how": "not", "node": "n1,n2"}
    grid = Grid(cluster, tmp_path, {"method": [method], "protocol": ["full"], "seed": [0]})
    grid("submit")
    wait_until(lambda: grid.states() == ["done"], 120, "the cell is done on the third node")
    (row,) = grid.rows()
    assert row["node"] == "n3"
    tried = [failure.node for failure in records.failures(grid.store)]
    assert sorted(tried) == ["n1", "n2"]


def test_a_submitter_that_dies_submits_nothing_twice(cluster: Cluster, tmp_path: Path) -> None:
    """Once killed when the controller had accepted the array, once before it was asked."""
    grid = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": [0, 1]})
    real = shutil.which("sbatch")
    folder = tmp_path / "deadly"
    folder.mkdir()
    deadly = folder / "sbatch"
    path = f"{folder}:{os.environ['PATH']}"
    for accepted in (False, True):
        send = f'{real} "$@"' if accepted else ":"
        deadly.write_text(f'#!/bin/sh\ncase "$*" in *--test-only*) exec {real} "$@";; esac\n{send}\nkill -9 $PPID\n')
        deadly.chmod(0o755)
        grid("submit", code=-9, PATH=path)
        said = grid("submit")
        if accepted:
            assert "accepted as job" in said and "nothing to submit" in said
        else:
            assert "never accepted" in said and "2 cells: job" in said
            grid("wait")
            for row in grid.rows():
                shutil.rmtree(grid.store / row["id"])
    grid("wait", code=None)
    if set(grid.states()) != {"done"}:  # a task that started before its pickle was there has failed, and says so
        grid("retry")
        grid("wait")
    names = [Run(grid.store / row["id"]) for row in grid.rows()]
    assert all(len(list(read_jsonl(run.attempts))) == 1 for run in names)


def test_preflight_names_all_problems_at_once_and_submits_nothing(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": [0]})
    wrong = profile(tmp_path, partition="short,fast", time="2:00:00", gpu_memory=0.001)
    said = grid("submit", "--profile", wrong, code=2)
    for part in (
        "no partition 'fast'",
        "above the limit of partition 'short', 01:00:00",
        "won't fit",
        "nothing was submitted",
    ):
        assert part in said, said
    assert "there is no terminal to ask on" in cluster.bench(
        "submit", grid.path, "--profile", "testcluster", "--store", grid.store, code=2
    )
    refused = profile(tmp_path, gpus="h100:1")
    assert "Slurm refuses the request" in grid("submit", "--profile", refused, code=2)
    assert not list(grid.store.glob("*/ticket.json")) and grid.states() == ["pending"]


def test_queued_jobs_run_the_code_of_their_submission(cluster: Cluster, tmp_path: Path) -> None:
    """The tree is broken after the submission and before the job starts."""
    copy = tmp_path / "checkout"
    for room in ("bench", "methods", "datasets", "slurm"):
        shutil.copytree(Path(__file__).parents[2] / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).parents[2] / "bench.py", copy)
    grid = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": [0]})
    held = profile(tmp_path, options={"hold": True})
    command = ["submit", grid.path, "--profile", held, "--yes", "--store", grid.store]
    subprocess.run([sys.executable, str(copy / "bench.py"), *map(str, command)], env=cluster.environment, check=True)
    for path in copy.rglob("*.py"):
        path.write_text("raise RuntimeError('the tree has moved on')\n")
    cluster.slurm("scontrol", "release", grid.rows()[0]["job"], check=True)
    grid("wait")


def test_a_time_limit_shorter_than_the_run_is_no_obstacle(cluster: Cluster, limited: Grid, tmp_path: Path) -> None:
    """It checkpointed, requeued itself, went on, and gave the same bits."""
    limited("wait", "--timeout", "300")
    (row,) = limited.rows()
    assert (row["state"], row["attempt"] >= 2) == ("done", True)
    cluster.bench("run", limited.path, "--store", tmp_path / "calm", "--set", "method.pause=0")
    (calm,) = (tmp_path / "calm").glob("toy*/metrics.jsonl")
    assert calm.read_bytes() == Run(limited.store / row["id"]).metrics.read_bytes()


def test_a_grid_in_chaos_comes_back_whole(cluster: Cluster, tmp_path: Path) -> None:
    try:
        found = chaos.run(cluster, tmp_path, cells=24, seconds=150)
    finally:
        cluster.root = ROOT
    print(json.dumps(found, indent=1))
    assert found["totals"] == {"done": 24}, found["reasons"]
    assert found["different"] == []
    assert found["attempts"] >= 32 and found["cells_aimed_at"] >= 8  # it was disturbed


def test_a_local_submission_outlives_its_shell(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": [0, 1, 2]})
    grid("submit", "--profile", "local", "--parallel", "2")
    begin = time.monotonic()
    grid("wait")
    assert grid.states() == ["done"] * 3
    assert time.monotonic() - begin < 300
    assert len({read_json(Run(grid.store / row["id"]).ticket)["submission"] for row in grid.rows()}) == 1
