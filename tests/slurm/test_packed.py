"""`pack: N`: several cells of a job side by side, and what happens to one of them is its own affair."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.files import read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.store.liveness import current_state
from bench.store.run import Run
from bench.store.ticket import Ticket
from slurm import preflight
from slurm.job import run_task
from slurm.packed import share_of
from slurm.profiles import Profile, read_profile
from slurm.records import Array
from slurm.request import array_requests, script
from slurm.task import Task
from slurm.view import job_of
from tests.conftest import TOY
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.test_cluster import Grid, profile
from tests.slurm.test_ends import by_label, slow
from tests.slurm.test_parts import GRID


def test_each_cell_has_its_part_of_the_cores() -> None:
    assert [share_of(list(range(9)), place, 4) for place in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert share_of([5, 3], 2, 3) == [3, 5]


def test_a_job_asks_for_what_its_cells_need_together(tmp_path: Path) -> None:
    (path := tmp_path / "g.yaml").write_text(GRID)
    plan = make_plan(Request(str(path), (), (), tmp_path / "store"))
    asked = Profile(pack=2, cpus=3, memory="5G", gpus=1, parallel=5)
    requests = array_requests(plan.cells, asked, str(path), 10)
    assert [(one.tasks, len(one.cells), one.profile.pack) for one in requests] == [(2, 3, 2), (2, 3, 2)]
    assert [(one.tasks, len(one.cells)) for one in array_requests(plan.cells, asked, str(path), 1)] == [
        (1, 2), (1, 1), (1, 2), (1, 1)
    ]  # fmt: skip
    text = script(requests[0].profile, tmp_path, tmp_path, "x", requests[0].tasks)
    for line in ("--mem=10G", "--cpus-per-task=6", "--gres=gpu:1", "--array=0-1%2"):
        assert f"#SBATCH {line}" in text
    single = array_requests(plan.cells[:1], asked, str(path), 10)[0].profile  # nobody beside it
    assert "--mem=5G" in script(single, tmp_path, tmp_path, "x", 1)
    array = Array("a", ["c0", "c1", "c2"], asked.model_dump(mode="json"), 2, "7")
    assert [job_of(array, index) for index in range(3)] == ["7_0", "7_0", "7_1"]


def test_the_memory_of_packed_cells_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "g.yaml").write_text(GRID)
    request = Request(str(path), (), (), tmp_path / "store")
    plan = make_plan(request)
    monkeypatch.setattr("slurm.preflight.Predictions.of", lambda *_: {"reserved_bytes": 9e9, "needed_bytes": 1e10})

    def problems(pack: int) -> list[str]:
        asked = Profile(pack=pack, gpu_memory=24)
        return preflight._memory_problems(array_requests(plan.cells, asked, str(path), 10), request, [])

    assert problems(1) == problems(2) == []
    (said, *_) = problems(3)
    assert "about 27.0 GB, needs 30.0 GB with margin; the GPU has 24 GB" in said and said.count(" beside ") == 2


def packed(tmp_path: Path, *methods: dict[str, Any]) -> Task:
    """Return a task of several cells, one for each method."""
    import yaml

    recipe = {"dataset": "toy", "network": {"name": "deeplabv3plus", "backbone": "tiny"}, "schedule": {"iterations": 6}}
    grid = {"recipe": recipe, "axes": {"method": list(methods)}, "resources": {"threads": 1, "checkpoint_every": 2}}
    (path := tmp_path / "g.yaml").write_text(yaml.safe_dump(grid))
    request = Request(str(path), (), (), tmp_path / "store")
    plan = make_plan(request)
    jobs, _ = make_jobs(plan, plan.cells, request, retry=False)
    for index, job in enumerate(jobs):
        Ticket("s", 0, index).write(Run(request.store / job.cell_id))
    return Task(tuple(replace(job, submission="s") for job in jobs), 1, 0, side_by_side=True)


def test_cells_run_side_by_side_and_fail_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", f"{TOY}:{TOY.with_name('bad_methods.py')}")
    task = packed(tmp_path, {"name": "bad", "how": "bug"}, {"name": "bad", "how": "not"}, {"name": "supervised"})
    ends = [end.rpartition(": ")[2] for end in run_task(task)]
    assert ends == ["failed", "done", "done"]
    runs = [Run(Path(job.store) / job.cell_id) for job in task.jobs]
    attempts = [next(read_jsonl(run.attempts)) for run in runs]
    assert {row["side_by_side"] for row in attempts} == {3} and len({row["pid"] for row in attempts}) == 3
    assert "a bug" in runs[0].log.read_text() and "a bug" not in runs[1].log.read_text()


def is_cell(pid: int) -> bool:
    try:
        return b"slurm.packed_cell" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


@pytest.mark.slurm
def test_packed_cells_are_killed_cancelled_and_preempted_apart(cluster: Cluster, tmp_path: Path) -> None:
    """Three cells share a job: one is killed, one cancelled, and the third goes on, through a preemption of the job."""
    grid = Grid(cluster, tmp_path, slow("killed", "cancelled", "kept", pause=3.0))
    grid("submit", "--profile", profile(tmp_path, pack=3))
    wait_until(lambda: all(row.get("step", 0) >= 1 for row in grid.rows()), 120, "all cells have taken a step")
    rows = by_label(grid)
    (job,) = {row["job"] for row in rows.values()}
    (pid,) = (p for p in cluster.processes({"SLURM_JOB_ID": job}) if is_cell(p) and p == rows["killed"]["pid"])
    os.kill(pid, signal.SIGKILL)
    grid("cancel", "--only", "method=cancelled")
    time.sleep(5)
    node = rows["kept"]["node"]
    cluster.slurm(*f"sbatch -p high -w {node} --exclusive -t 1 -o /dev/null --wrap".split(), "sleep 2", check=True)
    grid("wait", code=1)
    ended = by_label(grid)
    assert {name: row["state"] for name, row in ended.items()} == {
        "killed": "failed", "cancelled": "cancelled", "kept": "done"
    }  # fmt: skip
    assert {row["job"] for row in ended.values()} == {job} and ended["kept"]["attempt"] == 2
    assert "was killed by SIGKILL; the cells beside it went on" in ended["killed"]["reason"]
    grid("retry")
    grid("submit", "--cancelled", "--profile", profile(tmp_path, pack=3))
    grid("wait")
    calm = Grid(cluster, tmp_path, slow("calm", pause=0.0), name="calm")
    cluster.bench("run", calm.path, "--store", tmp_path / "calm")
    (metrics,) = (tmp_path / "calm").glob("toy*/metrics.jsonl")
    for row in grid.rows():
        run = Run(grid.store / row["id"])
        assert current_state(run)["state"] == "done" and run.metrics.read_bytes() == metrics.read_bytes()


def test_packing_is_slurms(tmp_path: Path) -> None:
    (path := tmp_path / "p.yaml").write_text("extends: local\npack: 2\n")
    with pytest.raises(Exception, match="pack: only with the executor slurm"):
        read_profile(str(path))
