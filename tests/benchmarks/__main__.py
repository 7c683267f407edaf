"""``make bench``: runs every benchmark of this folder, one after the other, each in a process of its own.

What they hand over (see ``figures``) is printed as one table and kept, by benchmark, in
``results/measured/speed-<hardware>.json``. ``python -m tests.benchmarks bench_step`` runs and renews one alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench import machine
from bench.files import REPOSITORY, read_json, write_json
from bench.run import provenance
from bench.train.setup import hardware, pick_device
from tests.benchmarks.figures import COLLECT, Figure, collected, table

# How often a benchmark is run, where that isn't once without options.
RUNS: dict[str, tuple[list[str], ...]] = {"bench_step": ([], ["--precision", "bf16", "reco"])}


def run(name: str) -> list[Figure] | None:
    """Run a benchmark and return its figures; None if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        collect = Path(folder) / "figures.jsonl"
        for options in RUNS.get(name, ([],)):
            print(f"== {' '.join([name, *options])}", flush=True)
            command = [sys.executable, "-m", f"tests.benchmarks.{name}", *options]
            if subprocess.run(command, check=False, env={**os.environ, COLLECT: str(collect)}).returncode:
                return None
        return collected(collect)


def keep(path: Path, name: str, figures: list[Figure], facts: dict[str, Any]) -> None:
    """Put a benchmark's figures, with the facts about machine and code, in the place of its last ones."""
    kept = read_json(path) or {}
    kept[name] = {"environment": facts, "figures": [{**asdict(f), "met": f.met} for f in figures]}
    write_json(path, dict(sorted(kept.items())))


def main() -> None:
    """Run all benchmarks, or those named on the command line; exit with 1 if one fails."""
    every = sorted(p.stem for p in Path(__file__).parent.glob("bench_*.py"))
    wanted = sys.argv[1:] or every
    if unknown := sorted(set(wanted) - set(every)):
        raise SystemExit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(every)}")
    torch.set_num_threads(machine.usable_cores())
    on = hardware(pick_device("auto"))
    facts = {
        **provenance.describe(),
        "hardware": on,
        "command": ["tests.benchmarks", *wanted],
    }  # before a written file makes the tree dirty
    path = REPOSITORY / "results" / "measured" / f"speed-{re.sub('[^a-z0-9]+', '-', on.lower()).strip('-')}.json"
    found: dict[str, list[Figure] | None] = {}
    for name in wanted:
        found[name] = figures = run(name)
        if figures is not None:
            keep(path, name, figures, facts)
            print(f"kept in {path}")
    print(
        f"\nOn {on}, torch {torch.__version__}:\n\n{table([f for figures in found.values() for f in figures or ()])}\n"
    )
    if failed := [name for name, figures in found.items() if figures is None]:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
