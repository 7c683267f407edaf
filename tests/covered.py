"""Prints the branch coverage of each room, as `make coverage` measured it, and keeps it in results/measured.

python -m tests.covered
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.files import REPOSITORY

KEPT = REPOSITORY / "results/measured/branch-coverage.md"
HEAD = """# Branch coverage of the tests

`make coverage`: all tests but those on a real Slurm, child processes included; processes that a test kills say nothing.
Lines and branches together, in percent.

| room | lines | branches | covered |
|---|---:|---:|---:|
"""


def room(path: str) -> str:
    """Return the room of a file: its folder, two deep at most."""
    return "/".join(Path(path).parts[:-1][:2])


def table(files: dict[str, Any]) -> str:
    """Return a row per room and one for all, of coverage's summary of each file."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for path, found in files.items():
        for name in (room(path), "all"):
            for key, value in found["summary"].items():
                if isinstance(value, int):
                    sums[name][key] += value
    rows = []
    for name, found in sorted(sums.items(), key=lambda one: (one[0] == "all", one[0])):
        whole = found["num_statements"] + found["num_branches"]
        share = 100 * (found["covered_lines"] + found["covered_branches"]) / max(whole, 1)
        rows.append(f"| `{name}` | {found['num_statements']} | {found['num_branches']} | {share:.1f} |\n")
    return "".join(rows)


def main() -> None:
    """Print the table, and keep it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", str(file)]
        subprocess.run(command, check=True, cwd=REPOSITORY)
        found = json.loads(file.read_text())
    text = HEAD + table(found["files"])
    KEPT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
