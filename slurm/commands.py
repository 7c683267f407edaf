"""Slurm's own commands: its limits, and the jobs of a store.

A look takes one ``squeue`` and one ``sacct``, and a second ``squeue`` where jobs failed that accounting doesn't tell of.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

ANSWER_WITHIN = 20.0  # seconds
WHOLE = {"SLURM_BITSTR_LEN": "0"}  # lists of tasks are written out; Slurm shortens them to 64 characters otherwise
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


_TASKS = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


class SlurmError(Exception):
    """Slurm didn't answer, or refused; the message is one line."""


@dataclass(frozen=True)
class SlurmJob:
    """A job, or a task of an array, as Slurm shows it.

    Attributes:
        id: ``123`` or ``123_4``.
        state: as Slurm writes it, e.g. RUNNING.
        in_queue: whether it runs or will run.
        node: where it runs or ran; "" where none.
        reason: why it waits, or its exit code.
        code: the exit code of a job that ended.
    """

    id: str
    state: str
    in_queue: bool
    node: str = ""
    reason: str = ""
    code: int = 0


def available() -> bool:
    """Tell whether Slurm's commands are installed."""
    return shutil.which("squeue") is not None and shutil.which("sbatch") is not None


def ask(*command: str) -> str:
    """Run one of Slurm's commands and return what it prints.

    Raises:
        SlurmError: if it fails or doesn't answer in time.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_WITHIN, check=False, env={**os.environ, **WHOLE}
        )
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} is not installed here") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} didn't answer within {ANSWER_WITHIN:.0f} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SlurmError(f"{command[0]}: {said or f'exit code {done.returncode}'}")
    return done.stdout


@contextlib.contextmanager
def outside_any_job() -> Iterator[None]:
    """Hide the variables of the job that this process may run in, which what it submits must not inherit."""
    ours = ("SLURM_", "SUBMITIT_")
    hidden = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith(ours) and k != "SLURM_CONF"}
    try:
        yield
    finally:
        os.environ.update(hidden)


def queue(names: Iterable[str]) -> dict[tuple[str, str], SlurmJob]:
    """Return the jobs of these names that the controller knows, by (job id, job name).

    Those of hidden partitions are among them, and those that ended a few minutes ago, which is all that is known of ends
    where there is no accounting.

    Raises:
        SlurmError: if the controller doesn't answer.
    """
    found = {}
    command = ("squeue", "-a", "-h", "-r", "-t", "all", "-n", ",".join(sorted(names)), "-o", "%F|%K|%j|%T|%N|%r")
    for line in ask(*command).splitlines():
        job, index, name, state, node, reason = line.split("|", 5)
        full = job if index == "N/A" else f"{job}_{index}"
        found[full, name] = SlurmJob(full, state, state not in FINAL, node, "" if reason == "None" else reason)
    return found


def with_exit_codes(jobs: dict[tuple[str, str], SlurmJob]) -> dict[tuple[str, str], SlurmJob]:
    """Return the same jobs with the exit codes of those that failed, from the controller.

    For where accounting is missing, or hasn't written an end yet. A job that the controller has forgotten in the meantime
    stays as it is.
    """
    failed = {key: job for key, job in jobs.items() if job.state == "FAILED"}
    if not failed:
        return jobs
    wanted = ",".join(sorted({job.id.partition("_")[0] for job in failed.values()}))  # all tasks of these arrays
    columns = "ArrayJobID:20,ArrayTaskID:20,exit_code:20"
    try:
        lines = ask("squeue", "-a", "-h", "-r", "-t", "all", "-j", wanted, "-O", columns).splitlines()
    except SlurmError:
        return jobs
    codes = dict[str, int]()
    for array, index, code in (words for line in lines if len(words := line.split()) == 3):
        # Slurm up to now writes what wait() returned; elsewhere it writes "code:signal".
        number, colon, _ = code.partition(":")
        if not number.isdecimal():
            continue
        codes[array if index == "N/A" else f"{array}_{index}"] = int(number) if colon else int(number) >> 8
    known = {key: (job, codes[job.id]) for key, job in failed.items() if job.id in codes}
    return {**jobs, **{key: replace(job, code=code, reason=f"exit code {code}") for key, (job, code) in known.items()}}


def accounts(jobs: Iterable[str]) -> dict[tuple[str, str], SlurmJob]:
    """Return the jobs, and tasks of their arrays, whose end accounting knows, by (job id, job name).

    Jobs that have not ended are left out: the queue is up to date, accounting may not be.

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
        word = state.split()[0]  # "CANCELLED by 0"
        if word not in FINAL:
            continue
        where = "" if node == "None assigned" else node
        for one in _tasks(job):
            found[one, name] = SlurmJob(one, word, False, where, f"exit code {code}", int(code.partition(":")[0] or 0))
    return found


def _tasks(job: str) -> list[str]:
    """Return the tasks that accounting writes as one when they are cancelled while they wait: ``12_[3-5,8,10-20:2%2]``.

    Of a list that Slurm has shortened (``3_[1-2,...]``), those that it names.
    """
    array, bracket, inside = job.partition("_[")
    if not bracket:
        return [job]
    found = list[str]()
    for part in inside.rstrip("]").partition("%")[0].split(","):
        if known := _TASKS.fullmatch(part):
            low, high, step = (int(n) if n else None for n in known.groups())
            found += [f"{array}_{index}" for index in range(low or 0, (high or low or 0) + 1, step or 1)]
    return found


def find_array(name: str, since: float) -> str | None:
    """Return the id of the array with this name, or None if Slurm never accepted it.

    Raises:
        SlurmError: if Slurm can't tell.
    """
    known = ask("squeue", "-a", "-h", "-t", "all", "-n", name, "-o", "%F").split()
    if not known:
        start = f"now-{int(since // 60) + 2}minutes"
        with contextlib.suppress(SlurmError):  # a cluster without accounting; the controller has answered already
            known = ask("sacct", "-n", "-P", "-X", "--name", name, "-S", start, "--format=JobID").split()
    return known[0].split("_")[0] if known else None


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
    """Return the partitions by name, hidden ones too, each with Slurm's keys.

    Raises:
        SlurmError: if the controller doesn't answer.
    """
    lines = ask("scontrol", "-a", "show", "partition", "-o").splitlines()
    rows = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]
    return {row["PartitionName"]: row for row in rows if "PartitionName" in row}
