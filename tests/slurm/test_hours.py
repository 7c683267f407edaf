"""Hours of Slurm's accounting: lines of sacct added up by hand, and a grid on a real cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slurm.hours import summed
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.test_cluster import Grid
from tests.slurm.test_ends import slow

SACCT = """7_0|ours|PREEMPTED|3600|billing=4,cpu=4,gres/gpu=1,mem=8G,node=1|01:00:00||
7_0.batch|batch|CANCELLED|3600|cpu=4,mem=8G,node=1|00:00:01|2G|
7_0.0|python|CANCELLED|3600|cpu=4,mem=8G,node=1|00:59:59|4G|
7_0|ours|COMPLETED|1800|billing=4,cpu=4,gres/gpu=1,mem=8G,node=1|00:30:00.500||3600000
7_0.batch|batch|COMPLETED|1800|cpu=4,mem=8G,node=1|00:00:00.500|1024K|7
7_1|ours|CANCELLED by 0|0||00:00:00||18446744073709551614
8|another|COMPLETED|9999|cpu=4,mem=8G,node=1|1-00:00:00||
8.0|python|COMPLETED|9999|cpu=4,mem=8G,node=1|1-00:00:00|8G|
9|ours|NODE_FAIL|900|cpu=2,mem=2G,node=1|1-00:00:00||0"""


def test_lines_of_accounting_are_added_up() -> None:
    found = summed(SACCT.splitlines(), {"ours"}).as_hours()
    used = found.pop("cpu_efficiency")
    assert found == {
        "starts": 3,
        "node_hours": 1.75,
        "core_hours": 6.5,
        "gpu_hours": 1.5,
        "node_hours_by_end": {"COMPLETED": 0.5, "NODE_FAIL": 0.25, "PREEMPTED": 1.0},
        "memory_efficiency": pytest.approx((4 + 1 / 1024) / 16),
        "kwh": 1.0,
    }
    assert used == pytest.approx((3600 + 1800.5 + 86400) / (6.5 * 3600))


@pytest.mark.slurm
def test_hours_of_a_grid_with_a_preemption(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, slow("a", "b", pause=1.0))
    grid("submit")
    wait_until(lambda: all(row.get("step", 0) >= 2 for row in grid.rows()), 120, "both cells have taken steps")
    job = grid.rows()[0]["job"]
    cluster.slurm("scontrol", "requeue", job, check=True)
    grid("wait")
    found = json.loads(grid("status", "--hours", "--json"))
    whole, (given,) = found["total"], found["allocated"]
    assert (whole["cells"], whole["attempts"], found["projected"]["cells"]) == (2, 3, 2)
    assert whole["hours"] > 2 * 12 / 3600 and whole["core_hours"] >= whole["hours"]
    assert given["starts"] == 3 and given["node_hours"] > whole["hours"]
    assert given["core_hours"] == pytest.approx(given["node_hours"]) and 0 < given["cpu_efficiency"] < 1
    text = grid("status", "--hours")
    assert "allocated by Slurm, 3 starts of jobs" in text and "projected for 2 cells" in text and "lost: failed" in text
