"""Runs lines one after the other, each in a process group of its own, within a budget of time, and keeps what they find.

A crash, a hang or a sticky CUDA error of one line takes nothing from the others. This process never touches the GPU.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from bench.files import REPOSITORY
from tests.gpu.lines import Line
from tests.gpu.report import Finding, read

BUDGET = "budget"  # why a line was left out, or stopped
SHORTEST = 10.0  # seconds that must be left for a line to be started
PATIENCE = 5  # times its cap that a line may take on the no-op runtime: two busy cores, and nothing that hangs
TAIL = 30  # lines of a failed line's output that are kept


class Outcome(TypedDict):
    """What became of a line.

    Attributes:
        verdict: `passed`, `failed` or `skipped`.
        reason: of a failure or of a skip; empty otherwise.
        seconds: that it took.
        figures: what it found.
        output: the end of what it printed, where it failed.
    """

    verdict: str
    reason: str
    seconds: float
    figures: list[Finding]
    output: list[str]


def _left_out(reason: str) -> Outcome:
    """Return the outcome of a line that wasn't started."""
    return {"verdict": "skipped", "reason": reason, "seconds": 0.0, "figures": [], "output": []}


def judge(findings: Sequence[Finding], ended: bool, error: str | None, stopped: str | None) -> tuple[str, str]:
    """Return a line's verdict and its reason.

    Args:
        findings: in order.
        ended: whether the line came to its end, or to an error.
        error: that error.
        stopped: why its process is gone, where the line didn't end.
    """
    missed = [f"{f['name']} is {f['value']}, not {f['aim']}" for f in findings if f["met"] is False]
    if missed:
        return "failed", "; ".join(missed)
    if error is not None:
        return "failed", error
    if not ended:
        return ("skipped", BUDGET) if stopped == BUDGET else ("failed", stopped or "it ended without a word")
    left_open = [f["skipped"] for f in findings if "skipped" in f]
    if left_open and not any(f["met"] for f in findings):
        return "skipped", left_open[0]
    return "passed", ""


def _wait(process: subprocess.Popen[bytes], cap: float, left: float) -> str | None:
    """Wait for a process; return why it is gone, None where it ended by itself and well."""
    try:
        code = process.wait(min(cap, left))
    except subprocess.TimeoutExpired:
        return BUDGET if left < cap else f"stopped after {cap:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started must not hold the GPU
        process.wait()
    return (
        None if code == 0 else f"its process was ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
    )


def _command(line: Line, folder: Path, report: Path) -> list[str]:
    return [sys.executable, "-m", "tests.gpu.line", line.name, str(folder), str(report)]


def run_line(
    line: Line, folder: Path, environment: Mapping[str, str], cap: float, left: float
) -> tuple[Outcome, dict[str, Any]]:
    """Run a line in a process of its own; return its outcome and the facts of where it ran.

    Args:
        line: which.
        folder: of the whole check.
        environment: of the process.
        cap: seconds after which it is stopped.
        left: seconds of the budget.
    """
    report, log, begin = folder / f"{line.name}.jsonl", folder / f"{line.name}.log", time.monotonic()
    command = _command(line, folder, report)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=file, stderr=file, start_new_session=True
        )
        stopped = _wait(process, cap, left)
    found = read(report)
    verdict, reason = judge(found.findings, found.ended, found.error, stopped)
    output = log.read_text(errors="replace").splitlines()[-TAIL:] if verdict == "failed" else []
    outcome: Outcome = {
        "verdict": verdict,
        "reason": reason,
        "seconds": round(time.monotonic() - begin, 1),
        "figures": found.findings,
        "output": output,
    }
    return outcome, found.facts


def run_lines(
    lines: Sequence[Line],
    folder: Path,
    environment: Mapping[str, str],
    budget: float,
    noop: bool,
    keep: Callable[[Line, Outcome, dict[str, Any]], None],
) -> None:
    """Run lines in order until the budget is used.

    Args:
        lines: in order of importance.
        folder: theirs to write to.
        environment: of their processes.
        budget: seconds, from now.
        noop: whether they run on the no-op runtime.
        keep: called with each line's outcome and facts as soon as they are known.
    """
    end = time.monotonic() + budget
    for line in lines:
        left = end - time.monotonic()
        if left < SHORTEST:
            keep(line, _left_out(BUDGET), {})
            continue
        outcome, facts = run_line(line, folder, environment, line.cap * (PATIENCE if noop else 1), left)
        keep(line, outcome, facts)
