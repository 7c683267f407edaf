"""``make soak``: does anything grow in a long life? Many cells in one `run`, and many steps in one cell.

    python -m tests.soak [--cells 1000] [--steps 20000]

Watched are memory (resident, of each process that lives throughout), open files, threads, files in the temp folder, and
the time of a step. The second tenth is compared with the last one: the first holds what is made once. Exit code 1 where
something grew by more than its bound.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.files import REPOSITORY, read_jsonl

MB = 1 << 20
TORCHS_CACHE = "torchinductor_"  # one folder per user and machine
PAUSE = 1.0  # seconds between two looks
# By how much a figure may be larger at the end: a share, and so much more.
BOUNDS = {"memory": (0.05, 4 * MB), "files": (0.0, 2), "threads": (0.0, 1), "temp files": (0.0, 4), "step": (0.15, 0.0)}
RECIPE: dict[str, Any] = {
    "dataset": "toy",
    "network": {"name": "deeplabv3plus", "backbone": "tiny"},
    "augmentation": {"reco": {"crop_size": 16}},
    "schedule": {"batch": {"labelled": 2, "unlabelled": 2}},
    "method": "classmix",
}


@dataclass
class Watched:
    """What was seen of the processes of a command, each time at which it was looked at.

    Attributes:
        processes: per process, by its number: memory in bytes, open files, threads.
        temporary: files in the temp folder.
        looks: how often it was looked at.
    """

    processes: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    temporary: list[int] = field(default_factory=list)
    looks: int = 0

    def look(self, pids: list[int], temp: Path) -> None:
        """Look once."""
        self.looks += 1
        for pid in pids:
            if (seen := _of_process(pid)) is not None:
                self.processes.setdefault(pid, []).append(seen)
        self.temporary.append(sum(1 for _ in temp.rglob("*")))

    def long_lived(self) -> dict[int, list[tuple[int, int, int]]]:
        """Return what was seen of the processes that were there nine times out of ten."""
        return {pid: seen for pid, seen in self.processes.items() if len(seen) >= 0.9 * self.looks}


def _of_process(pid: int) -> tuple[int, int, int] | None:
    """Return a process's resident bytes, open files and threads; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        known = dict(line.split(":", 1) for line in status if ":" in line)
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return 1024 * int(known["VmRSS"].split()[0]), files, int(known["Threads"])
    except (OSError, KeyError):
        return None


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))
    except OSError:
        return


def watch(grid: dict[str, Any], workers: int, folder: Path) -> tuple[Watched, Path]:
    """Run a grid, and look at its processes until it ends; return what was seen, and the store."""
    folder.mkdir()
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    temp, store = folder / "tmp", folder / "store"
    temp.mkdir()
    plugins = str(REPOSITORY / "tests" / "toy.py")
    told = {**os.environ, "TMPDIR": str(temp), "BENCH_PLUGINS": plugins, "OMP_NUM_THREADS": "1"}
    told["BENCH_CACHE"] = str(folder / "cache")
    words = ["run", str(folder / "grid.yaml"), "--store", str(store), "--workers", str(workers), "--quiet"]
    with (folder / "log").open("w") as log:
        command = [sys.executable, str(REPOSITORY / "bench.py"), *words]
        run = subprocess.Popen(command, env=told, stdout=log, stderr=log)
        watched = Watched()
        while run.poll() is None:
            watched.look(list(_tree(run.pid)), temp)
            time.sleep(PAUSE)
    if run.returncode:
        raise SystemExit(f"the grid ended with {run.returncode}: {(folder / 'log').read_text()[-500:]}")
    left = sorted(path.name for path in temp.iterdir() if not path.name.startswith(TORCHS_CACHE))
    print(f"  left in the temp folder: {', '.join(left) or 'nothing'}")
    if left:
        raise SystemExit(1)
    return watched, store


def compare(what: str, kind: str, values: list[float], unit: float = 1.0) -> bool:
    """Print a figure in the second and the last tenth of its time; return whether it stayed within its bound."""
    tenth = max(len(values) // 10, 1)
    early, late = (statistics.median(part) for part in (values[tenth : 2 * tenth] or values, values[-tenth:]))
    share, more = BOUNDS[kind]
    fine = late <= early * (1 + share) + more
    grown = f" ({late / early - 1:+.1%})" if early else ""
    print(f"  {what}: {early / unit:.4g} → {late / unit:.4g}{grown}{'' if fine else ': GREW'}", flush=True)
    return fine


def verdict(watched: Watched) -> bool:
    """Print what became of each process that lived throughout; return whether nothing grew."""
    fine = [compare("files in the temp folder", "temp files", [float(n) for n in watched.temporary])]
    living = watched.long_lived()
    for number, seen in enumerate(living.values(), 1):
        memory, files, threads = ([float(n) for n in column] for column in zip(*seen, strict=True))
        fine += [
            compare(f"process {number}: memory (MB)", "memory", memory, MB),
            compare(f"process {number}: open files", "files", files),
            compare(f"process {number}: threads", "threads", threads),
        ]
    return bool(living) and all(fine)


def many_cells(count: int, folder: Path) -> bool:
    """Watch a run of many short cells."""
    recipe = {**RECIPE, "schedule": {**RECIPE["schedule"], "iterations": 4}, "evaluation": {"every": 4}}
    begin = time.monotonic()
    watched, store = watch(
        {"recipe": recipe, "axes": {"protocol": [{"few_labels": 4}], "seed": list(range(count))}}, 2, folder
    )
    done = sum(1 for _ in store.glob("*/result.json"))
    print(f"  {done} of {count} cells done in {time.monotonic() - begin:.0f} s")
    return verdict(watched) and done == count


def many_steps(count: int, folder: Path) -> bool:
    """Watch a run of one long cell."""
    recipe = {**RECIPE, "schedule": {**RECIPE["schedule"], "iterations": count}, "evaluation": {"every": 500}}
    begin = time.monotonic()
    watched, store = watch({"recipe": recipe, "axes": {"protocol": [{"few_labels": 4}], "seed": [0]}}, 1, folder)
    (timing,) = store.glob("*/timing.jsonl")
    took = [float(row["seconds_per_step"]) for row in read_jsonl(timing) if row.get("seconds_per_step")]
    print(f"  {count} steps in {time.monotonic() - begin:.0f} s")
    return compare("a step (ms)", "step", took, 1e-3) & verdict(watched)


def main() -> int:
    """Watch both; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=20_000)
    asked = parser.parse_args()
    fine = True
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        parts = (("cells", asked.cells, many_cells), ("steps", asked.steps, many_steps))
        for name, count, part in parts:
            if count:
                print(f"{count} {name}", flush=True)
                fine &= part(count, Path(place) / name)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
