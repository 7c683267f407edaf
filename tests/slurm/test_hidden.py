"""Partitions that Slurm hides from ordinary users: who may submit to one sees its jobs in it, on a real Slurm."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.test_cluster import Grid, profile

pytestmark = pytest.mark.slurm
AS_ANYBODY = '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups {command} "$@"\n'


@pytest.fixture
def hidden(cluster: Cluster) -> Iterator[str]:
    """A partition that is hidden as long as the test lasts."""
    cluster.slurm("scontrol", "update", "PartitionName=short", "Hidden=YES", check=True)
    yield "short"
    cluster.slurm("scontrol", "update", "PartitionName=short", "Hidden=NO", check=True)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A search path on which those commands that only look are those of an ordinary user: root sees everything."""
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scontrol"):
        (folder / name).write_text(AS_ANYBODY.format(command=shutil.which(name)))
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_hidden_partition_is_found_and_its_jobs_are_counted_once(
    cluster: Cluster, hidden: str, path: str, tmp_path: Path
) -> None:
    grid = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": [0, 1]})
    asked = ("submit", "--profile", profile(tmp_path, partition=hidden, options={"hold": True}))

    def looked(*command: str) -> str:
        return cluster.slurm("env", f"PATH={path}", *command, check=True)

    assert f"PartitionName={hidden}" not in looked("scontrol", "show", "partition", "-o")
    grid(*asked, PATH=path)
    shown = ("squeue", "-h", "-o", "%P")
    assert hidden not in looked(*shown).split() and hidden in looked(*shown, "-a").split()
    rows: list[dict[str, Any]] = json.loads(grid("status", "--json", PATH=path))["cells"]
    assert {(row["state"], row["slurm"], row["in_queue"]) for row in rows} == {("queued", "PENDING", True)}
    assert "nothing to submit" in grid(*asked, PATH=path)
    assert len(cluster.slurm("squeue", "-a", "-h", "-r", "-p", hidden).splitlines()) == 2
    grid("cancel")
    assert cluster.slurm("squeue", "-a", "-h", "-p", hidden) == ""
