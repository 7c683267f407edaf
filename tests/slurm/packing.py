"""What packing does to throughput: the same cells as a job each, and several to a job, as many at a time.

By hand: ``python -m tests.slurm.packing [--cells 12] [--steps 400] [--at-once 2]``. A real Slurm on this machine; each cell
has one core. Time runs from the submission to the last cell's end. Results must be the same bytes however cells are packed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from bench.store.run import Run
from tests.slurm.chaos import same
from tests.slurm.cluster import Cluster

PORT = 19817  # the first one, beside those of tests and of the chaos run
PACKS = (1, 2, 4)
RECIPE: dict[str, Any] = {
    "dataset": "synthetic",
    "network": {"name": "deeplabv3plus", "backbone": "tiny"},
    "augmentation": {"reco": {"crop_size": 64}},
    "method": "classmix",
    "evaluation": {"batch_size": 20},
}


def seconds(cluster: Cluster, grid: Path, store: Path, pack: int, at_once: int) -> float:
    """Return the seconds from the submission of a grid to the end of its last cell."""
    profile = grid.with_name(f"pack-{pack}.yaml")
    asked = {"extends": "testcluster", "cpus": 1, "memory": "900M", "pack": pack, "parallel": max(at_once, pack)}
    profile.write_text(yaml.safe_dump(asked))
    where = (grid, "--store", store)
    begin = time.time()
    cluster.bench("submit", *where, "--profile", profile, "--yes")
    cluster.bench("wait", *where)
    return max(path.stat().st_mtime for path in store.glob("*/result.json")) - begin


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--at-once", type=int, default=2, help="cells that run at a time, at least a job's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-packing-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # munge refuses a socket that others can't reach
        grid = folder / "grid.yaml"
        recipe = {**RECIPE, "schedule": {"iterations": options.steps, "batch": {"labelled": 8, "unlabelled": 8}}}
        axes = {"protocol": [{"few_labels": 16}], "seed": list(range(options.cells))}
        grid.write_text(yaml.safe_dump({"recipe": recipe, "axes": axes, "resources": {"threads": 1}}))
        cluster = Cluster(folder / "cluster", PORT)
        cluster.up()
        try:
            for pack in PACKS:
                store = folder / f"store-{pack}"
                taken = seconds(cluster, grid, store, pack, options.at_once)
                runs = [Run(path.parent) for path in store.glob("*/result.json")]
                moved = [run.id for run in runs if not same(run, Run(folder / f"store-{PACKS[0]}" / run.id))]
                rate = 60 * len(runs) / taken
                differ = f"; differ: {', '.join(moved)}" if moved else ""
                print(f"pack {pack}: {len(runs)} cells in {taken:.0f} s, {rate:.1f} a minute{differ}", flush=True)
        finally:
            cluster.down()


if __name__ == "__main__":
    main()
