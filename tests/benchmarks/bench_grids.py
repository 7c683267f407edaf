"""The harness on big grids: seconds of `plan`, `status` and `table` at 10,000 and at 100,000 cells, and how they grow.

``python -m tests.benchmarks.bench_grids [--cells 10000 100000] [--rounds 3] [--folder DIR]``

In a temporary folder (of DIR; in memory where the machine has /dev/shm) stands a grid on the embedded dataset,
methods × protocols × seeds × learning rates, and a store with a made-up run for each cell, in the files of a real one
but for its weights: done, but for one in fifty that was preempted. A figure is the wall time of the command,
``python bench.py …`` in a process of its own, files in the page cache: the median over the rounds.

*plan, first*: into an empty store; the dataset is drawn already. *plan, later*: the summary is in the store, and so are
the runs. *table, cold* reads every run; *table, warm* has its cache of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench.files import REPOSITORY
from bench.plan.cells import Plan, PlannedCell
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.report.cache import CACHE
from bench.store.cells import write_cell
from bench.store.run import Run
from tests.bench.report.conftest import Store
from tests.benchmarks.figures import Figure, note, number

AIMS = {"plan, first": 2.0, "plan, later": 2.0, "status": 2.0, "table, cold": 5.0, "table, warm": 1.0}  # seconds
AIMED_AT = 10_000  # cells, at which those aims hold
GROWTH = 10.0  # at most, where the grid is ten times as big
METHODS = ["supervised", "mean_teacher", "classmix", "reco", "rc2l"]
PROTOCOLS: list[Any] = [{"few_labels": 16}, {"few_labels": 32}, {"ratio": "1/4"}, "full"]
SEEDS = 25
MEMORY = Path("/dev/shm")  # where there is no disk to wait for
CLASSES = [f"class {i}" for i in range(10)]
REASONS = {
    "plan, first": "importing torch takes {torch:.2g} s: ids need every method's defaults; later plans don't",
    "table, warm": "half of it imports pydantic, numpy, pyarrow and rich",
}
TORCH = "import torch"
Seconds = dict[str, float]


def make_grid(cells: int) -> dict[str, object]:
    """Return a grid of that many cells."""
    rates, rest = divmod(cells, len(METHODS) * len(PROTOCOLS) * SEEDS)
    if rest or not rates:
        raise SystemExit(f"--cells {cells}: must be a multiple of {len(METHODS) * len(PROTOCOLS) * SEEDS}")
    return {
        "recipe": {"dataset": "synthetic", "network": {"name": "deeplabv3plus", "backbone": "tiny"}},
        "axes": {
            "method": METHODS,
            "protocol": PROTOCOLS,
            "optimizer.lr": [round(1e-4 * (i + 1), 4) for i in range(rates)],
            "seed": list(range(SEEDS)),
        },
    }


def make_run(store: Store, grid: str, index: int, planned: PlannedCell) -> None:
    """Write the files of a made-up run."""
    run = Run(store.path / planned.cell.id)
    where = {"host": "made-up", "node": None, "pid": 1, "at_once": None, "it_per_s": 5.0}
    if index % 50 == 49:
        store.state(run.path, "preempted", step=200, reason="SIGTERM", **where)
    else:
        miou, iou = 40 + index % 997 / 100, [30 + (index + c) % 400 / 10 for c in range(len(CLASSES))]
        facts: dict[str, Any] = {
            "classes": CLASSES,
            "split_sha256": planned.cell.split_sha256,
            "weights_sha256": "0" * 64,
        }
        store.done(run.path, miou, iou=iou, evaluation="whole image, original size, val", **facts)
        store.state(run.path, "done", step=400, miou=miou, **where)
    store.evaluations(run.path, dict.fromkeys(range(100, 500, 100), 40.0))
    write_cell(run, grid, planned.cell, planned.coords)
    run.lock.write_text('{"host": "made-up", "pid": 1, "since": 0}')
    for path in (run.timing, run.attempts, run.log):
        path.touch()


class Bench:
    """A grid of some size with its store in a folder of its own, and the user's commands on it."""

    def __init__(self, folder: Path, cells: int, rounds: int) -> None:
        self.rounds = rounds
        self.grid, self.store = folder / "big.yaml", folder / "store"
        self.grid.write_text(yaml.safe_dump(make_grid(cells)))
        self.seconds: Seconds = {}

    def plan(self, store: Path) -> Plan:
        """Plan in this process, into another store."""
        return make_plan(Request(str(self.grid), store=store))

    def time(self, what: str, before: Callable[[], None] | None = None) -> None:
        """Time the command that `what` begins with; `before` each call, something may have to be put away."""
        self._time(what, ["bench.py", what.split(",")[0], str(self.grid), "--store", str(self.store)], before)

    def _time(self, what: str, arguments: list[str], before: Callable[[], None] | None = None) -> None:
        command, taken = [sys.executable, *arguments], []
        for _ in range(self.rounds):
            if before is not None:
                before()
            begin = time.perf_counter()
            subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)
            taken.append(time.perf_counter() - begin)
        self.seconds[what] = statistics.median(taken)
        print(f"  {what:12} {self.seconds[what]:7.2f} s", flush=True)

    def measure(self, spare: Path) -> Seconds:
        """Time every command; `spare` is an empty folder for another store."""
        plan = self.plan(spare)  # draws the dataset too
        self._time(TORCH, ["-c", "import torch"])
        self.time("plan, first", lambda: shutil.rmtree(self.store, ignore_errors=True))
        begin = time.perf_counter()
        store = Store(self.store)
        for index, planned in enumerate(plan.cells):
            make_run(store, plan.name, index, planned)
        print(f"  (made {len(plan.cells)} runs in {time.perf_counter() - begin:.0f} s)", flush=True)
        self.time("plan, later")
        self.time("status")
        self.time("table, cold", lambda: (self.store / CACHE).unlink(missing_ok=True))
        self.time("table, warm")
        return self.seconds


def report(
    what: str, against: str, value: float, unit: Any, aim: float, parts: dict[str, Any], reason: str = ""
) -> None:
    """Hand over a figure, and print it."""
    figure = Figure(what, against, value, unit, "<=", aim, reason, parts)
    note(figure)
    verdict = "met" if figure.met else "MISSED"
    print(f"{what}, against {against}: {number(value, unit)}, aim <= {number(aim, unit)}: {verdict}")


def judge(found: dict[int, Seconds]) -> None:
    """Hold the seconds, by number of cells, against the aims."""
    for what, aim in AIMS.items():
        if AIMED_AT in found:
            seconds, reason = found[AIMED_AT], REASONS.get(what, "").format(torch=found[AIMED_AT][TORCH])
            report(f"{what}: {AIMED_AT:,} cells", "–", seconds[what], "s", aim, {"seconds": seconds}, reason)
        for cells in (n for n in found if n // 10 in found):
            parts = {"seconds": {str(n): found[n][what] for n in (cells // 10, cells)}}
            ratio = found[cells][what] / found[cells // 10][what]
            report(f"{what}: {cells:,} cells", f"{cells // 10:,} cells", ratio, "×", GROWTH, parts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--cells", type=int, nargs="+", default=[AIMED_AT, 10 * AIMED_AT])
    parser.add_argument("--rounds", type=int, default=3)
    memory = MEMORY if MEMORY.is_dir() else None
    parser.add_argument(
        "--folder", type=Path, default=memory, help="where the temporary folder is made: 7 files a cell"
    )
    options = parser.parse_args()
    found: dict[int, Seconds] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        os.environ |= {"BENCH_DATA": str(folder / "data"), "BENCH_CACHE": str(folder / "cache")}
        for cells in options.cells:
            print(f"{cells:,} cells", flush=True)
            with tempfile.TemporaryDirectory(dir=folder) as own:
                found[cells] = Bench(Path(own), cells, options.rounds).measure(Path(own) / "spare")
    judge(found)


if __name__ == "__main__":
    main()
