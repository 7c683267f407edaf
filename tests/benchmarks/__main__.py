"""``make bench``: runs every benchmark of this folder, one after the other, each in a process of its own.

What they hand over (see ``figures``) is printed as one table and written to ``results/measured/speed-<hardware>.json``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from bench import environment
from bench.data import REPOSITORY
from bench.store.files import write_json
from bench.train.build import hardware, pick_device
from tests.benchmarks.figures import COLLECT, collected, table

# How often a benchmark is run, where that isn't once without options.
RUNS: dict[str, tuple[list[str], ...]] = {"bench_step": ([], ["--precision", "bf16", "reco"])}


def main() -> None:
    """Run all benchmarks, or those named on the command line; exit with 1 if one fails."""
    every = sorted(p.stem for p in Path(__file__).parent.glob("bench_*.py"))
    wanted = sys.argv[1:] or every
    environment.let_threads_sleep()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        collect = Path(folder) / "figures.jsonl"
        for name in wanted:
            for options in RUNS.get(name, ([],)):
                print(f"== {' '.join([name, *options])}", flush=True)
                command = [sys.executable, "-m", f"tests.benchmarks.{name}", *options]
                if subprocess.run(command, check=False, env={**os.environ, COLLECT: str(collect)}).returncode:
                    failed.append(name)
        figures = collected(collect)
    torch.set_num_threads(environment.usable_cores())
    on = hardware(pick_device("auto"))
    print(f"\nOn {on}, torch {torch.__version__}:\n\n{table(figures)}\n")
    if wanted == every and not failed:
        path = REPOSITORY / "results" / "measured" / f"speed-{re.sub('[^a-z0-9]+', '-', on.lower()).strip('-')}.json"
        facts = {**environment.describe(), "hardware": on}
        write_json(path, {"environment": facts, "figures": [{**asdict(f), "met": f.met} for f in figures]})
        print(f"wrote {path}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
