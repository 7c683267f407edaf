"""A tuned grid on a real Slurm: its rounds follow each other without a shell, and end as they do on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.files import read_json
from bench.plan.request import Request
from bench.store.run import Run
from slurm import records
from slurm.records import Submission
from tests.bench.run.test_tuning import finished
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.test_cluster import Grid

pytestmark = pytest.mark.slurm

TUNE: dict[str, Any] = {
    "trials": 2,
    "space": {"optimizer.lr": {"log_uniform": [0.001, 0.1]}},
    "select": {"images": 2},
    "halving": {"rungs": [0.5, 1.0], "keep": 0.4},
}
AXES = {"method": ["supervised"], "protocol": [{"few_labels": 6}], "seed": [0]}


def reported(grid: Grid) -> list[dict[str, Any]]:
    return [row for row in grid.rows() if "trial" not in row["coords"]]


def follow_up(made: Submission) -> str:
    assert made.next is not None and made.next.job is not None
    return made.next.job


def results(grid: Grid) -> dict[str, bytes]:
    """Return the results of all runs that are done, with the hash of their weights, by id."""
    return {path.parent.name: path.read_bytes() for path in grid.store.glob("*/result.json")}


def done(store: Path) -> bool:
    """Tell whether the reported cells are done, the cells of a third submission."""
    made = records.submissions(store)
    return len(made) == 3 and all(Run(store / cell).result.exists() for cell in made[2].arrays[0].cells)


def test_rounds_follow_each_other_without_a_shell_and_end_as_on_one_machine(cluster: Cluster, tmp_path: Path) -> None:
    """Trials to the rung, trials to their end, the chosen setting; the grid's file is gone right after the submission."""
    there = Grid(cluster, tmp_path, AXES, tune=TUNE)
    assert "submits the next round when these have ended" in there("submit")
    (first,) = records.submissions(there.store)
    assert set(first.arrays[0].until.values()) == {6}
    line = f"next round: job {follow_up(first)}, waits for {first.arrays[0].job_id}"
    assert line in " ".join(there("status").split())
    (tmp_path / "here").mkdir()
    moved = there.path.rename(tmp_path / "here" / there.path.name)
    here = finished(Request(str(moved), (), (), tmp_path / "here" / "store"))
    wait_until(lambda: done(there.store), 120, "all rounds went by themselves")
    made = records.submissions(there.store)
    assert [len(one.arrays[0].cells) for one in made] == [2, 1, 1]
    assert [one.next and (one.next.closed, one.next.why) for one in made] == [(True, ""), (True, ""), None]
    assert results(there) == {name: files["result.json"] for name, files in here.items()}
    assert {"weights_sha256", "holdout_images"} <= set(read_json(Run(there.store / made[1].arrays[0].cells[0]).result))


def test_a_killed_trial_is_waited_for_until_a_person_leaves_it_out(cluster: Cluster, tmp_path: Path) -> None:
    """And `wait` goes on where the job that should is gone."""
    grid = Grid(cluster, tmp_path, AXES, tune={**TUNE, "halving": None})
    grid("submit")
    (first,) = records.submissions(grid.store)
    trial = f"{first.arrays[0].job_id}_1"
    wait_until(lambda: cluster.slurm("squeue", "-h", "-j", trial, "-o", "%t").strip() == "R", 60, "the trial runs")
    cluster.slurm("scancel", trial, follow_up(first), check=True)
    said = grid("wait", code=1)
    assert "waits for trial 1; --with-what-is-there" in said
    assert len(records.submissions(grid.store)) == 1  # nothing tries it again by itself
    assert sorted(row["state"] for row in grid.rows()) == ["cancelled", "done", "pending"]
    grid("submit", "--with-what-is-there")
    grid("wait")
    assert [row["state"] for row in reported(grid)] == ["done"]
    assert [len(one.arrays[0].cells) for one in records.submissions(grid.store)] == [2, 1]


def test_a_cancelled_grid_does_not_go_on(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, AXES, tune=TUNE)
    grid("submit")
    job = follow_up(records.submissions(grid.store)[0])
    grid("cancel")
    # other tests of this cluster may still have jobs of their own
    wait_until(
        lambda: job not in cluster.slurm("squeue", "--noheader", "-o", "%i").split(), 60, "the follow-up job is gone"
    )
    assert len(records.submissions(grid.store)) == 1
    assert [row["state"] for row in reported(grid)] == ["pending"]
