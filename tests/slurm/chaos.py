"""Chaos: a grid on a test cluster while nodes die, jobs are preempted and daemons restart; nothing may be lost or doubled.

By hand: ``python -m tests.slurm.chaos [--cells 200] [--seconds 120] [--iterations 10]``. It prints how often what was
done, and what came out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.slurm.cluster import Cluster

GRID: dict[str, Any] = {
    "recipe": {
        "dataset": "toy",
        "network": {"name": "deeplabv3plus", "backbone": "tiny"},
        "augmentation": {"reco": {"crop_size": 32}},
        "schedule": {"iterations": 40, "batch": {"labelled": 2, "unlabelled": 2}},
        "evaluation": {"every": 20, "batch_size": 6},
    },
    "axes": {"method": ["supervised", "mean_teacher"], "protocol": ["full"]},
    "resources": {"checkpoint_every": 5, "log_every": 5, "threads": 1},
}
NODES = ("n1", "n2", "n3")


class Chaos:
    """Disturbs a grid's jobs.

    Args:
        cluster: where they run.
        store: their store.
        grid: the grid's file.
        seed: of the choice of disturbances.
    """

    def __init__(self, cluster: Cluster, store: Path, grid: Path, seed: int = 0) -> None:
        self.cluster, self.store, self.grid = cluster, store, grid
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.dead: dict[str, float] = {}  # node -> when it comes back

    def running(self) -> list[str]:
        """Return the tasks that run."""
        return self.cluster.slurm("squeue", "-h", "-r", "-t", "R", "-p", "main", "-o", "%i").split()

    def preempt(self) -> None:
        """Let a job of the partition `high` take a node."""
        node = self.random.choice(NODES)
        self.cluster.slurm(
            "sbatch", "-p", "high", "-w", node, "--exclusive", "-t", "1", "-o", "/dev/null", "--wrap", "sleep 2"
        )

    def requeue(self) -> None:
        """Requeue a task, without a warning to it."""
        if tasks := self.running():
            self.cluster.slurm("scontrol", "requeue", self.random.choice(tasks))

    def kill_process(self) -> None:
        """Kill the processes of a cell, as the kernel does when memory runs out."""
        workers = [p for p in self.cluster.processes({"SUBMITIT_EXECUTOR": "slurm"}) if is_worker(p)]
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(workers), signal.SIGKILL)

    def kill_node(self) -> None:
        """Kill a node with all that runs on it; it comes back after Slurm has noticed."""
        node = self.random.choice(NODES)
        if not self.dead:
            self.cluster.kill_node(node)
            self.dead[node] = time.monotonic() + 14

    def restart_controller(self) -> None:
        """Kill slurmctld and start it again."""
        self.cluster.kill("slurmctld")
        time.sleep(2)
        subprocess.run(["slurmctld"], env=self.cluster.environment, check=True)

    def restart_database(self) -> None:
        """Kill slurmdbd and start it again."""
        self.cluster.kill("slurmdbd")
        time.sleep(1)
        socket = str(self.cluster.folder / "run" / "mysql.sock")
        subprocess.run(["slurmdbd"], env={**self.cluster.environment, "MYSQL_UNIX_PORT": socket}, check=False)

    def cancel(self) -> None:
        """Cancel the cells of one seed, waiting or running."""
        seed = self.random.randrange(10)
        self.cluster.bench("cancel", self.grid, "--only", f"seed={seed}", "--store", self.store, "--yes", code=None)

    def revive(self, every: bool = False) -> None:
        """Bring back the nodes whose time has come."""
        for node, when in list(self.dead.items()):
            if every or time.monotonic() > when:
                subprocess.run(["slurmd", "-N", node], env=self.cluster.environment, check=False)
                del self.dead[node]

    def rage(self, seconds: float) -> None:
        """Disturb for a while, each kind at least once if there is time."""
        kinds: list[Callable[[], None]] = [self.preempt, self.kill_process, self.requeue, self.kill_node, self.requeue]
        kinds += [self.restart_controller, self.kill_process, self.cancel, self.preempt, self.restart_database]
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            kind = kinds[number % len(kinds)]
            kind()
            self.counts[kind.__name__] += 1
            number += 1
            self.revive()
            time.sleep(self.random.uniform(0.5, 2.5))
        while self.dead:
            self.revive(every=True)
        self.cluster.up()


def is_worker(pid: int) -> bool:
    """Tell whether a process is a cell's Python, not the srun or the shell above it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"python" in words[0] and b"submitit.core._submit" in words


def run(cluster: Cluster, folder: Path, cells: int, seconds: float, iterations: int = 40) -> dict[str, Any]:
    """Run the grid twice, undisturbed on this machine and in chaos on the cluster, and compare.

    Returns:
        Counts of disturbances and attempts, the state of each cell, and the cells whose results differ.
    """
    grid = folder / "chaos.yaml"
    axes = {**GRID["axes"], "seed": list(range(cells // 2))}
    schedule = {**GRID["recipe"]["schedule"], "iterations": iterations}
    grid.write_text(yaml.safe_dump({**GRID, "axes": axes, "recipe": {**GRID["recipe"], "schedule": schedule}}))
    store, calm = folder / "store", folder / "calm"
    chaos = Chaos(cluster, store, grid)
    submit = ("--store", store, "--profile", "testcluster", "--yes")
    cluster.bench("submit", grid, *submit, "--parallel", "8")
    chaos.rage(seconds)
    rounds = 0
    while rounds < 8:
        rounds += 1
        cluster.bench("wait", grid, "--store", store, code=None)
        status = json.loads(cluster.bench("status", grid, "--store", store, "--json"))
        if status["totals"] == {"done": cells}:
            break
        cluster.bench("submit", grid, *submit, "--cancelled", code=None)
        cluster.bench("retry", grid, *submit, code=None)
    cluster.bench("run", grid, "--store", calm, "--workers", "2")
    names = [cell["id"] for cell in status["cells"]]
    files = [(name, file) for name in names for file in ("result.json", "metrics.jsonl")]
    attempts = [(store / name / "attempts.jsonl").read_bytes().count(b"\n") for name in names]
    return {
        "disturbances": dict(chaos.counts),
        "totals": status["totals"],
        "attempts": sum(attempts),
        "cells_disturbed": sum(n > 1 for n in attempts),
        "most_attempts": max(attempts),
        "rounds": rounds,
        "different": sorted({n for n, f in files if (store / n / f).read_bytes() != (calm / n / f).read_bytes()}),
    }


def main() -> None:
    """Run it by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--iterations", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-chaos-", dir="/tmp") as name:
        Path(name).chmod(0o755)  # munge refuses a socket that others can't reach
        cluster = Cluster(Path(name) / "cluster")
        cluster.up()
        try:
            print(json.dumps(run(cluster, Path(name), options.cells, options.seconds, options.iterations), indent=1))
        finally:
            cluster.down()


if __name__ == "__main__":
    main()
