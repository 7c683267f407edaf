"""Ends that Slurm or a person ordered, and stores that are away, on a real Slurm."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.files import read_jsonl
from bench.store.run import Run
from slurm import commands, records
from slurm.task import WRONG_SETUP
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.test_cluster import Grid, profile

pytestmark = pytest.mark.slurm


def slow(*labels: str, pause: float = 1.5) -> dict[str, Any]:
    """Return the axes of cells that take some seconds, one for each label."""
    methods = [
        {"name": "bad", "how": "not", "pause": pause + number / 100, "label": label}
        for number, label in enumerate(labels)
    ]
    return {"method": methods, "protocol": ["full"], "seed": [0]}


def by_label(grid: Grid) -> dict[str, dict[str, Any]]:
    return {row["coords"]["method"]: row for row in grid.rows()}


def waiting_or_running(cluster: Cluster) -> list[str]:
    """Return the grids' jobs in the queue; the one of the module `test_cluster` may be among them elsewhere."""
    names = cluster.slurm("squeue", "-h", "-r", "-t", "PD,R,CG", "-o", "%j %i %T").splitlines()
    return [line for line in names if line.startswith("bench-")]


def attempts(grid: Grid, row: dict[str, Any]) -> int:
    return len(list(read_jsonl(Run(grid.store / row["id"]).attempts)))


def test_what_slurm_or_a_person_ended_stays_ended(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, slow("plain", "TERM", "USR2", "INT", "verb", pause=5.0))
    grid("submit")
    wait_until(lambda: all(row.get("step", 0) >= 1 for row in grid.rows()), 120, "all cells have taken a step")
    rows, array = by_label(grid), records.submissions(grid.store)[0].arrays[0].name
    cluster.slurm("scancel", rows["plain"]["job"], check=True)
    for name in ("TERM", "USR2", "INT"):
        cluster.slurm("scancel", f"--signal={name}", rows[name]["job"], check=True)
    grid("cancel", "--only", "method=verb")
    queue = ("squeue", "-h", "-r", "-n", array, "-t", "PD,R,CG", "-o", "%i %T")
    wait_until(lambda: not cluster.slurm(*queue), 90, "none of them is in the queue")
    ended = by_label(grid)
    states = {name: row["state"] for name, row in ended.items()}
    assert states == {
        "plain": "cancelled", "verb": "cancelled", "TERM": "preempted", "USR2": "preempted", "INT": "preempted"
    }  # fmt: skip
    assert "SIGUSR2: a signal of which Slurm knows no reason" in ended["USR2"]["reason"]
    assert {attempts(grid, row) for row in ended.values()} == {1}


def test_lists_of_tasks_that_slurm_shortens_are_read_whole(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled before accounting has the array as a whole, every third task leaves a list with many gaps."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    asked = ("sbatch", "--parsable", "--hold", "-J", "gaps", "-a", "0-199%50", "-o", "/dev/null", "--wrap", "true")
    job = cluster.slurm(*asked, check=True).strip()
    cluster.slurm("scancel", *(f"{job}_{index}" for index in range(0, 200, 3)), check=True)
    cluster.slurm("scancel", job, check=True)
    shown = ("sacct", "-n", "-P", "-X", "-j", job, "--format=JobID,State")
    wait_until(lambda: "...%50]|CANCELLED" in cluster.slurm(*shown), 30, "Slurm shortens the list")
    found = commands.accounts([job])
    assert {index for index in range(200) if (f"{job}_{index}", "gaps") in found} >= {i for i in range(200) if i % 3}


@contextmanager
def without_store(cluster: Cluster, node: str, folder: Path) -> Iterator[None]:
    """Let a node's jobs see an empty folder in the place of another one."""
    cluster.kill(f"slurmd.{node}")
    hide = f"mount -t tmpfs none '{folder}' && exec slurmd -N {node}"
    try:
        subprocess.run(["unshare", "-m", "sh", "-c", hide], env=cluster.environment, check=True)
        idle = ("sinfo", "-h", "-n", node, "-p", "main", "-o", "%T")
        wait_until(lambda: cluster.slurm(*idle).strip() in ("idle", "mixed"), 30, f"{node} is up")
        yield
    finally:
        cluster.kill(f"slurmd.{node}")
        cluster.up()


def test_a_node_without_the_store_is_left_alone_and_its_cells_go_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": list(range(8))})
    later = profile(
        tmp_path, store_wait=2, cpus=2, options={"begin": "now+10"}
    )  # submitted while the node sees the store
    grid("submit", "--profile", later)
    with without_store(cluster, "n1", grid.store):
        said = grid("wait")
        assert "what waits leaves out n1" in said and "cells again as job" in said
    status = grid("status")
    assert "node n1 is left out" in status and "could not write the store on n1" in status
    rows = grid.rows()
    assert {row["node"] for row in rows} == {"n2", "n3"} and {row["state"] for row in rows} == {"done"}
    assert {attempts(grid, row) for row in rows} == {1}
    assert len({failure.cell for failure in records.failures(grid.store)}) < 8
    assert list(Path("/tmp").glob("bench-*.log"))  # the node's own word


def test_a_store_that_is_away_for_a_while_costs_no_cell(cluster: Cluster, tmp_path: Path) -> None:
    """Read-only, then gone, while cells run and another one starts; the bits are those of a calm run."""
    grid = Grid(cluster, tmp_path, slow("a", "b", pause=1.0))
    late = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": [0]}, name="late")
    grid("submit")
    late("submit", "--profile", profile(tmp_path, options={"hold": True}))
    wait_until(lambda: all(row.get("step", 0) >= 1 for row in grid.rows()), 120, "all cells have taken a step")
    (job,) = (row["job"] for row in late.rows())
    shell(f"mount --bind {grid.store} {grid.store} && mount -o remount,bind,ro {grid.store}")
    cluster.slurm("scontrol", "release", job, check=True)
    shell(f"sleep 8; umount -l {grid.store} && mount -t tmpfs none {grid.store} && sleep 5; umount -l {grid.store}")
    for each in (grid, late):
        each("wait")
    calm = Grid(cluster, tmp_path, slow("a", pause=0.0), name="calm")
    cluster.bench("run", calm.path, "--store", tmp_path / "calm")
    (metrics,) = (tmp_path / "calm").glob("toy*/metrics.jsonl")
    for row in grid.rows():
        assert (grid.store / row["id"] / "metrics.jsonl").read_bytes() == metrics.read_bytes()


def test_a_job_whose_container_has_no_scontrol_requeues_itself(cluster: Cluster, tmp_path: Path) -> None:
    """Preempted: it goes on as the same job, from its checkpoint; and what a person ended stays ended there, too."""
    grid = Grid(cluster, tmp_path, slow("preempted", "cancelled", pause=2.0))
    grid("submit", "--profile", profile(tmp_path, container="env PATH=/nowhere"))
    wait_until(lambda: all(row.get("step", 0) >= 1 for row in grid.rows()), 120, "all cells have taken a step")
    rows = by_label(grid)
    cluster.slurm("scancel", rows["cancelled"]["job"], check=True)
    other = ("-p", "high", "-w", rows["preempted"]["node"], "--exclusive", "-t", "1", "-o", "/dev/null")
    cluster.slurm("sbatch", *other, "--wrap", "sleep 2", check=True)
    grid("wait", code=1)
    ended = by_label(grid)
    assert {name: row["state"] for name, row in ended.items()} == {"preempted": "done", "cancelled": "cancelled"}
    assert {name: attempts(grid, row) for name, row in ended.items()} == {"preempted": 2, "cancelled": 1}
    assert ended["preempted"]["job"] == rows["preempted"]["job"]


def test_a_set_up_line_that_fails_is_the_reason_in_a_store_of_any_name(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backslash, a quote, a line break and Slurm's own patterns are in the store's path; then the line is mended."""
    folder = tmp_path / "a \\ b'c\nd %j"
    folder.mkdir()
    grid = Grid(cluster, folder, {"method": ["supervised"], "protocol": ["full"], "seed": [0]})
    grid("submit", "--profile", profile(tmp_path, setup=["cd /nowhere/at/all"]))
    said = grid("wait", code=1)
    assert "a set-up line of the profile failed with exit code 1: cd /nowhere/at/all; see `logs`" in said
    (row,) = grid.rows()
    assert (row["state"], row.get("attempt")) == ("failed", None)
    assert "cd /nowhere/at/all" in grid("logs", "--cell", row["id"])
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    array = records.submissions(grid.store)[0].arrays[0].name
    (job,) = commands.with_exit_codes(commands.queue([array])).values()  # the controller's word, without accounting
    assert (job.state, job.code) == ("FAILED", WRONG_SETUP)
    grid("retry")
    grid("wait")
    assert grid.states() == ["done"]


def shell(line: str) -> None:
    subprocess.run(line, shell=True, check=True)
