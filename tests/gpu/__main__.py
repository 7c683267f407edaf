"""``make gpu-check``: runs every line of the check on this machine's GPU, in order of importance, and keeps what it finds.

``results/measured/gpu-<model>.json`` holds the outcome of each line, written as they end; where ``OUT`` names a folder, so
does a file there. The exit code is 1 if a line failed.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from bench.files import REPOSITORY, read_json, write_json
from bench.machine import child_environment
from tests.gpu.lines import LINES, Line
from tests.gpu.report import Finding
from tests.gpu.runner import BUDGET, Outcome, run_lines
from tests.noop_cuda import counters

BLOBS = REPOSITORY / "tests" / "benchmarks" / "blobs.py"
FINITE = Path(__file__).with_name("finite.py")
NOOP_MEMORY = 1_500_000_000  # bytes of the no-op runtime's device: little, so that something small doesn't fit


class Results:
    """The file of the check, and what is shown of it.

    Args:
        folder: where the file goes, named by the GPU's model. What it holds of lines that are left out now stays.
    """

    def __init__(self, folder: Path) -> None:
        self.folders = [folder, *([Path(os.environ["OUT"])] if os.environ.get("OUT") else [])]
        self.facts: dict[str, Any] = {}
        self.lines: dict[str, Outcome] = {}

    def paths(self) -> list[Path]:
        """Return the files; their names are known once a line has found the GPU."""
        model = re.sub("[^a-z0-9]+", "-", str(self.facts.get("device", "unknown")).lower()).strip("-")
        return [folder / f"gpu-{model}.json" for folder in self.folders]

    def keep(self, line: Line, outcome: Outcome, facts: dict[str, Any]) -> None:
        """Take a line's outcome, show it and write the file."""
        self.facts = facts or self.facts
        self.lines[line.name] = outcome
        show(line, outcome)
        for path in self.paths():
            known = read_json(path) or {}
            kept = known.get("check", {}).get("lines", {})
            new = {name: found for name, found in self.lines.items() if name not in kept or found["reason"] != BUDGET}
            lines = {**kept, **{name: {**found, "code": self._code()} for name, found in new.items()}}
            write_json(path, {**known, "check": {"environment": self.facts, "lines": lines}})

    def _code(self) -> str | None:
        sha = self.facts.get("git_sha")
        return None if sha is None else sha + ("-dirty" if self.facts.get("git_dirty") else "")


def figure(found: Finding) -> str:
    """Return a finding in words."""
    value, aim = found["value"], found["aim"]
    if value is None:
        return f"{found['name']}: {found.get('skipped', '')}"
    said = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{found['name']}: {' '.join(filter(None, [said, found['unit'], aim and f'({aim})']))}"


def show(line: Line, outcome: Outcome) -> None:
    """Print a line's outcome and its findings."""
    print(
        f"{outcome['verdict']:8}{line.name}: {line.what}  [{outcome['seconds']:.0f} s] {outcome['reason']}", flush=True
    )
    marks = {True: "ok", False: "MISSED", None: "–"}
    for found in outcome["figures"]:
        print(f"          {marks[found['met']]:7}{figure(found)}")
    for text in outcome["output"]:
        print(f"          | {text}")


def table(lines: dict[str, Outcome]) -> str:
    """Return a row per line: its verdict, and the figure that decided it."""
    rows = [f"{'line':<15}{'verdict':<9}{'s':>5}  figure"]
    for name, outcome in lines.items():
        found = outcome["figures"]
        deciding = [f for f in found if f["met"] is False] or [f for f in found if f["met"]] or found
        more = f" (+{len(found) - 1})" if len(found) > 1 else ""
        said = f"{figure(deciding[0])}{more}" if deciding else outcome["reason"]
        rows.append(f"{name:<15}{outcome['verdict']:<9}{outcome['seconds']:5.0f}  {said}")
    return "\n".join(rows)


def _minutes(text: str) -> float:
    """Return a number of minutes above 0."""
    minutes = float(text)
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"a budget is more than 0 minutes, not {text}")
    return minutes


def options() -> argparse.Namespace:
    """Return what the command line asks for."""
    names = [line.name for line in LINES]
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--budget", type=_minutes, default=8, metavar="MINUTES", help="time after which no line starts")
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", help=f"only these lines: {', '.join(names)}"
    )
    parser.add_argument("--noop", action="store_true", help="on the no-op CUDA runtime, without a GPU")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the results (default: results/measured)")
    return parser.parse_args()


def environment(noop: bool, folder: Path) -> dict[str, str]:
    """Return the environment of the lines' processes."""
    plugins = [str(BLOBS)]
    found = child_environment()
    if noop:
        from tests import noop_cuda

        if (why := noop_cuda.missing()) is not None:
            refuse(f"no no-op CUDA runtime: {why}")
        runtime = [str(noop_cuda.CONVOLUTIONS), str(FINITE)]
        found = {**noop_cuda.environment(NOOP_MEMORY), "BENCH_TEST_PLUGINS": os.pathsep.join(runtime)}
        plugins += runtime
    return {**found, "BENCH_PLUGINS": os.pathsep.join(plugins), "BENCH_CACHE": str(folder / "cache")}


def refuse(why: str) -> NoReturn:
    """End before anything has begun, with one line."""
    print(f"error: {why}", file=sys.stderr)
    sys.exit(2)


def need_gpu() -> None:
    """Refuse to go on where torch can use no GPU; asked in another process, so that this one never touches it."""
    code = "from bench.train.setup import pick_device; pick_device('cuda')"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1].split(": ", 1)[-1].split(" To insist")[0]
        refuse(f"{said} `python -m tests.gpu --noop` runs the check without a GPU, on a CUDA runtime that does nothing")


def main() -> None:
    """Run the lines and print the table."""
    asked, begin = options(), time.monotonic()
    noop = asked.noop or counters.loaded()
    if not noop:
        need_gpu()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no line outlives its check
    lines = [line for line in LINES if asked.only is None or line.name in asked.only]
    default = REPOSITORY / ("build" if noop else "results/measured")
    results = Results(asked.output or default)
    try:
        for folder in results.folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"{error.filename}: can't be written to: {error.strerror}")
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
        folder = Path(name)
        run_lines(lines, folder, environment(noop, folder), 60 * asked.budget, noop, results.keep)
    print(f"\n{results.facts.get('device', 'no GPU')}, {time.monotonic() - begin:.0f} s\n\n{table(results.lines)}\n")
    print("kept in " + ", ".join(map(str, results.paths())))
    sys.exit(any(outcome["verdict"] == "failed" for outcome in results.lines.values()))


if __name__ == "__main__":
    main()
