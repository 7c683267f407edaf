"""Why the job that this process runs in was told to stop, and how it goes back into the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from enum import Enum

from slurm.task import TRY_AGAIN

TRIES, PAUSE = 6, 5.0  # how often a controller that doesn't answer is asked, and the seconds in between
EARLY = 90.0  # seconds by which Slurm may send the signal of a time limit before its time (60 by its manual)


class Cause(Enum):
    """Why a job was signalled."""

    PREEMPTED = "a preemption"
    TIME_LIMIT = "the time limit"
    REQUEUED = "a requeue"  # Slurm, or a person, has put it back into the queue already
    CANCELLED = "a cancellation"
    SIGNALLED = "a signal of which Slurm knows no reason"  # ``scancel --signal``, or something on the node
    UNKNOWN = "Slurm did not answer"


def why(grace: int) -> Cause:
    """Ask Slurm why this job was signalled; only the first two causes are reasons for a job to requeue itself.

    Args:
        grace: seconds before the time limit at which the job asked for its signal.
    """
    for number in range(TRIES):
        facts = _facts()
        if facts:
            return judged(facts, int(os.environ.get("SLURM_RESTART_COUNT") or 0), time.time(), grace)
        if number < TRIES - 1:
            time.sleep(PAUSE)
    return Cause.UNKNOWN


def judged(facts: Mapping[str, str], restarts: int, now: float, grace: int) -> Cause:
    """Return the cause that a line of ``scontrol show job -o`` tells.

    While a cancelled job's processes handle their TERM it is COMPLETING, with the time of its end and no reason, and so is
    one that its preemption ended; who preempts notes the time before it sends the first signal.

    Args:
        facts: the line's values by key.
        restarts: of the job when this process started.
        now: seconds since the epoch.
        grace: see :func:`why`.
    """
    state = facts.get("JobState", "")
    if int(facts.get("Restarts", "0")) > restarts:
        return Cause.REQUEUED
    if facts.get("Reason") == "TimeLimit":
        return Cause.TIME_LIMIT
    if state in ("CANCELLED", "COMPLETING"):
        return Cause.CANCELLED
    if facts.get("PreemptTime", "None") != "None":
        return Cause.PREEMPTED
    if _seconds(facts.get("EndTime", "")) - now <= grace + EARLY:
        return Cause.TIME_LIMIT
    return Cause.PREEMPTED if state == "SIGNALING" else Cause.SIGNALLED


def _seconds(text: str) -> float:
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:  # Unknown
        return float("inf")


def _facts() -> dict[str, str]:
    try:
        command = ["scontrol", "show", "job", "-o", job_id()]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(word.split("=", 1) for word in said.split() if "=" in word)


def job_id() -> str:
    """Return the id of the job, or the task of an array, that this process runs in."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def requeue() -> None:
    """Put this job back into Slurm's queue, and end.

    A controller that doesn't answer is asked again for half a minute. If it never answers, the cell stays `preempted` with
    its checkpoint, and ``submit`` goes on with it.

    Raises:
        SystemExit: in any case; the job is over.
    """
    command = ["scontrol", "requeue", job_id()]
    for _ in range(TRIES):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"{' '.join(command)}: {error}", flush=True)
            continue
        if done.returncode == 0 or "pending" in done.stderr.lower():
            print(f"requeued {job_id()}", flush=True)
            await_end()
        print(f"{' '.join(command)}: {done.stderr.strip()}", flush=True)
        time.sleep(PAUSE)
    sys.exit(TRY_AGAIN)


def await_end() -> None:
    """Wait for Slurm to end this process, whose job is in the queue again: ended by itself, it would count as completed.

    Raises:
        SystemExit: where Slurm doesn't.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(60)
    sys.exit(0)
