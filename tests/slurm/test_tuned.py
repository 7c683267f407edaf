"""A tuned grid on a real Slurm: its rounds follow each other without a shell, and end as they do on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.store.run import Run
from slurm import records
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.test_cluster import Grid

pytestmark = pytest.mark.slurm

TUNE: dict[str, Any] = {
    "trials": 3,
    "space": {"optimizer.lr": {"log_uniform": [0.001, 0.1]}},
    "select": {"images": 2},
    "halving": {"rungs": [0.5, 1.0], "keep": 0.5},
}
AXES = {"method": ["supervised"], "protocol": [{"few_labels": 6}], "seed": [0]}


def reported(grid: Grid) -> list[dict[str, Any]]:
    return [row for row in grid.rows() if "trial" not in row["coords"]]


def test_rounds_follow_each_other_and_end_as_on_one_machine(cluster: Cluster, tmp_path: Path) -> None:
    """Trials to the rung, trials to their end, the chosen setting: by `wait`, whose follow-up job is gone, and by jobs."""
    (tmp_path / "slurm").mkdir()
    (tmp_path / "local").mkdir()
    grid = Grid(cluster, tmp_path / "slurm", AXES, tune=TUNE)
    assert "submits the next round when these have ended" in grid("submit")
    first = records.submissions(grid.store)[0]
    assert set(first.arrays[0].until.values()) == {6}
    cluster.slurm("scancel", str(first.follow_up), check=True)
    grid("wait")  # its exit code says that all is done
    assert [row["state"] for row in reported(grid)] == ["done"]
    assert len(records.submissions(grid.store)) == 3
    local = Grid(cluster, tmp_path / "local", AXES, tune=TUNE)
    local("run")
    assert grid("tune", "--explain") == local("tune", "--explain")
    (row,), (same,) = reported(grid), reported(local)
    assert row["id"] == same["id"]
    results = [Run(one.store / row["id"]).result.read_bytes() for one in (grid, local)]
    assert results[0] == results[1]


def test_a_cancelled_grid_does_not_go_on(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, AXES, tune=TUNE)
    grid("submit")
    follow_up = str(records.submissions(grid.store)[0].follow_up)
    grid("cancel")
    assert records.submissions(grid.store)[0].follow_up is None
    queued = ("squeue", "--noheader", "--format", "%i")
    wait_until(lambda: follow_up not in cluster.slurm(*queued).split(), 60, "the end of the follow-up job")
    assert len(records.submissions(grid.store)) == 1
    assert [row["state"] for row in reported(grid)] == ["pending"]
