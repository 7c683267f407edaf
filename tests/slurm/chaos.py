"""Chaos: a grid on a test cluster under everything in ``tests.slurm.disturbances``; nothing may be lost, doubled or changed.

By hand: ``python -m tests.slurm.chaos [--cells 200] [--seconds 3600] [--seed 1] [--iterations 40]``. It prints how often
what was done, how many attempts the cells took, and what came out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from bench.files import read_json, read_jsonl
from bench.store.rounding import mixed_code
from bench.store.run import Run
from tests.slurm.cluster import ROOT, Cluster
from tests.slurm.disturbances import Disturbances, shell

GRID: dict[str, Any] = {
    "recipe": {
        "dataset": "toy",
        "network": {"name": "deeplabv3plus", "backbone": "tiny"},
        "augmentation": {"reco": {"crop_size": 32}},
        "schedule": {"iterations": 40, "batch": {"labelled": 2, "unlabelled": 2}},
        "evaluation": {"every": 20, "batch_size": 6},
    },
    # Half of the cells sleep between steps, so that many of them can run, and be hit, at a time.
    "axes": {"method": ["mean_teacher", {"name": "bad", "how": "not", "pause": 0.4}], "protocol": ["full"]},
    "resources": {"checkpoint_every": 5, "log_every": 5, "threads": 1},
}
PROFILE = {"extends": "testcluster", "store_wait": 4, "retries": {"infrastructure": 3}}
PORT = 18817  # the first one of a cluster that is started by hand, beside those of tests
ROUNDS = 12  # of submitting again what was cancelled or failed in the end
SIZE = "1g"  # of the store's file system


def run(
    cluster: Cluster,
    folder: Path,
    cells: int,
    seconds: float,
    iterations: int = 40,
    seed: int = 0,
    stopped: float = 20.0,
) -> dict[str, Any]:
    """Run the grid twice, undisturbed on this machine and in chaos on the cluster, and compare.

    Args:
        cluster: where it runs; its checkout is a copy afterwards.
        folder: for grid, stores and checkout.
        cells: their number, even.
        seconds: for which they are disturbed, at least; up to twice as long until a third of the cells were aimed at.
        iterations: of each.
        seed: of the disturbances.
        stopped: seconds for which a process is stopped.

    Returns:
        Counts of disturbances and attempts, the state of each cell, and the cells whose results differ.
    """
    grid, profile, store, calm = (folder / name for name in ("chaos.yaml", "profile.yaml", "store", "calm"))
    axes = {**GRID["axes"], "seed": list(range(cells // 2))}
    schedule = {**GRID["recipe"]["schedule"], "iterations": iterations}
    grid.write_text(yaml.safe_dump({**GRID, "axes": axes, "recipe": {**GRID["recipe"], "schedule": schedule}}))
    profile.write_text(yaml.safe_dump(PROFILE))
    cluster.root = checkout(folder / "checkout")
    cluster.bench("run", grid, "--store", calm, "--workers", "6")
    store.mkdir()
    shell(f"mount -t tmpfs -o size={SIZE} none '{store}'")
    try:
        return _disturbed(cluster, grid, store, calm, profile, cells, seconds, seed, stopped)
    finally:
        shell(f"umount -l '{store}'")


def checkout(folder: Path) -> Path:
    """Return a copy of the code, which may be edited."""
    for room in ("bench", "methods", "datasets", "slurm"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "bench.py", folder)
    return folder


def _disturbed(
    cluster: Cluster,
    grid: Path,
    store: Path,
    calm: Path,
    profile: Path,
    cells: int,
    seconds: float,
    seed: int,
    stopped: float,
) -> dict[str, Any]:
    where: tuple[Any, ...] = (grid, "--store", store)
    submit = ("submit", *where, "--profile", profile, "--yes", "--parallel", "8")
    began = time.monotonic()
    cluster.bench(*submit)
    disturbed = Disturbances(cluster, store, (*submit, "--cancelled"), grid, seed, stopped)
    disturbed.rage(seconds, cells // 3)
    cluster.up()
    rounds, status = 0, dict[str, Any]()
    while rounds < ROUNDS and set(status.get("totals", ())) != {"done"}:
        if rounds:
            cluster.bench(*submit, "--cancelled", code=None)
            cluster.bench("retry", *where, "--profile", profile, "--yes", code=None)
        rounds += 1
        cluster.bench("wait", *where, code=None)
        status = json.loads(cluster.bench("status", *where, "--json"))
    names = [cell["id"] for cell in status["cells"]]
    attempts = Counter(len(list(read_jsonl(Run(store / name).attempts))) for name in names)
    codes = [read_json(Run(store / name).state).get("codes") for name in names]
    return {
        "disturbances": dict(disturbed.counts),
        "totals": status["totals"],
        "reasons": sorted({f"{row['state']}: {row['reason']}" for row in status["cells"] if row.get("reason")}),
        "attempts": sum(n * count for n, count in attempts.items()),
        "cells_by_attempts": dict(sorted(attempts.items())),
        "cells_aimed_at": len(disturbed.hits),
        "cells_with_mixed_code": sum(mixed_code(code) is not None for code in codes),
        "rounds": rounds,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "different": sorted(name for name in names if not same(Run(store / name), Run(calm / name))),
    }


def same(run: Run, calm: Run) -> bool:
    """Tell whether two runs have the same results and metrics, byte for byte."""
    pairs = [(run.result, calm.result), (run.metrics, calm.metrics)]
    return all(one.exists() and one.read_bytes() == other.read_bytes() for one, other in pairs)


def main() -> None:
    """Run it by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stopped", type=float, default=320, help="seconds for which a process is stopped")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-chaos-", dir="/tmp") as name:
        Path(name).chmod(0o755)  # munge refuses a socket that others can't reach
        cluster, asked = Cluster(Path(name) / "cluster", PORT), vars(options)
        cluster.up()
        try:
            print(json.dumps(run(cluster, Path(name), **asked), indent=1))
        finally:
            cluster.down()


if __name__ == "__main__":
    main()
