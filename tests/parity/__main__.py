"""``python -m tests.parity``: every comparison that the given checkouts allow, written to results/measured/parity.json.

Figures of checkouts that aren't given stay there as they are.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torchvision

from bench.files import REPOSITORY, read_json, write_json
from tests.parity.checkouts import NAMES, VARIABLE, checkout, missing
from tests.parity.test_parity import COMPARED

OUT = REPOSITORY / "results" / "measured" / "parity.json"
# Of the checkouts that the kept figures are of, which have no history where they were unpacked from an archive.
COMMITS = {"reco": "71c1b73", "classmix": "aa85291", "cutmix-semisup-seg": "af6183a"}


def commit(path: Path) -> str:
    """Return a checkout's commit."""
    found = subprocess.run(["git", "-C", str(path), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    inside = found.returncode == 0 and (path / ".git").exists()
    return found.stdout.strip() if inside else COMMITS[path.name]


def main() -> int:
    """Print each comparison's greatest differences, and write them down; 2 where no checkout is given."""
    there = {name: path for name in NAMES if (path := checkout(name)) is not None}
    if not there:
        print(f"give {VARIABLE}=DIR with checkouts of {', '.join(NAMES)}")
        return 2
    found: dict[str, dict[str, float]] = {}
    for name, compare, most in COMPARED:
        if name not in there:
            print(missing(name))
            continue
        begin = time.monotonic()
        differences = compare()
        found[f"{name}: {compare.__name__}"] = differences
        fine = "" if all(value <= most for value in differences.values()) else f"   above {most:g}"
        said = ", ".join(f"{what} {value:.1e}" for what, value in differences.items())
        print(f"{name}, {compare.__name__} ({time.monotonic() - begin:.0f} s): {said}{fine}", flush=True)
    kept = read_json(OUT) or {"greatest_differences": {}, "checkouts": {}}
    versions = {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__}
    write_json(
        OUT,
        {
            "greatest_differences": {**kept["greatest_differences"], **found},
            "checkouts": {**kept["checkouts"], **{name: commit(path) for name, path in there.items()}},
            "versions": {**versions, "numpy": np.__version__},
        },
    )
    print(f"wrote {OUT.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
