"""What Slurm's own commands say: its limits, and the jobs of a store. One ``squeue`` and one ``sacct`` at most."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

ANSWER_WITHIN = 20.0  # seconds
# The final states of sacct, and the state of a run that each of them means where the files know no better.
FINAL = {
    "COMPLETED": "failed",
    "FAILED": "failed",
    "NODE_FAIL": "failed",
    "BOOT_FAIL": "failed",
    "DEADLINE": "failed",
    "REVOKED": "failed",
    "TIMEOUT": "timed-out",
    "OUT_OF_MEMORY": "out-of-memory",
    "CANCELLED": "cancelled",
    "PREEMPTED": "preempted",
}


class SlurmError(Exception):
    """Slurm didn't answer, or said no; the message is one line."""


@dataclass(frozen=True)
class Seen:
    """Slurm's view of a job.

    Attributes:
        job: its id, ``123`` or ``123_4``.
        state: as Slurm writes it, e.g. RUNNING.
        waits: whether it is still in the queue, so that it runs or will run.
        node: where it runs or ran; "" where none.
        reason: why it waits, or its exit code.
    """

    job: str
    state: str
    waits: bool
    node: str = ""
    reason: str = ""


def available() -> bool:
    """Tell whether Slurm's commands are installed."""
    return shutil.which("squeue") is not None and shutil.which("sbatch") is not None


def ask(*command: str) -> str:
    """Run one of Slurm's commands and return what it prints.

    Raises:
        SlurmError: if it fails or doesn't answer in time.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_WITHIN, check=False)
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} is not installed here") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} didn't answer within {ANSWER_WITHIN:.0f} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SlurmError(f"{command[0]}: {said or f'exit code {done.returncode}'}")
    return done.stdout


def queue() -> dict[tuple[str, str], Seen]:
    """Return this user's jobs that run or wait, by (job id, job name).

    Raises:
        SlurmError: if the controller doesn't answer.
    """
    found = {}
    for line in ask("squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%F|%K|%j|%T|%N|%r").splitlines():
        job, index, name, state, node, reason = line.split("|", 5)
        full = job if index == "N/A" else f"{job}_{index}"
        found[full, name] = Seen(full, state, True, node, "" if reason == "None" else reason)
    return found


def accounts(jobs: Iterable[str]) -> dict[tuple[str, str], Seen]:
    """Return what accounting knows of jobs and all tasks of their arrays, by (job id, job name).

    Raises:
        SlurmError: if there is no accounting, or it doesn't answer.
    """
    wanted = ",".join(sorted(set(jobs)))
    if not wanted:
        return {}
    found = {}
    columns = "JobID,JobName,State,NodeList,ExitCode"
    for line in ask("sacct", "-n", "-P", "-X", "-j", wanted, f"--format={columns}").splitlines():
        job, name, state, node, code = line.split("|", 4)
        if "[" in job:  # tasks that have not started; the queue has them
            continue
        word = state.split()[0]  # "CANCELLED by 0"
        if word in FINAL:
            found[job, name] = Seen(job, word, False, "" if node == "None assigned" else node, f"exit code {code}")
        else:
            found[job, name] = Seen(job, word, True, node)
    return found


def find_array(name: str, since: float) -> str | None:
    """Return the id of the array with this name, or None if Slurm never accepted it.

    Raises:
        SlurmError: if Slurm can't tell.
    """
    waiting = ask("squeue", "-h", "-n", name, "-o", "%F").split()
    if waiting:
        return waiting[0]
    start = f"now-{int(since // 60) + 2}minutes"
    for line in ask("sacct", "-n", "-P", "-X", "--name", name, "-S", start, "--format=JobID").split():
        return line.split("_")[0]
    return None


def config() -> dict[str, str]:
    """Return the controller's configuration.

    Raises:
        SlurmError: if it doesn't answer.
    """
    pairs = (line.split("=", 1) for line in ask("scontrol", "show", "config").splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def max_array_size() -> int:
    """Return how many tasks an array can have: indices run from 0 to MaxArraySize - 1."""
    try:
        return max(int(config().get("MaxArraySize", "1001")), 1)
    except SlurmError:
        return 1001


def partitions() -> dict[str, dict[str, str]]:
    """Return the partitions by name, each with Slurm's keys.

    Raises:
        SlurmError: if the controller doesn't answer.
    """
    rows = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in ask("scontrol", "show", "partition", "-o").splitlines()]
    return {row["PartitionName"]: row for row in rows if "PartitionName" in row}
