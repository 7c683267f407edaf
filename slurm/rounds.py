"""The rounds of a tuned grid on a cluster: a small job after each one's end submits the next, so that no shell is needed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import child_environment
from bench.plan.request import Request
from bench.spec.grid import grid_path
from slurm import commands, records
from slurm.commands import SlurmError, outside_any_job
from slurm.profiles import Profile
from slurm.records import Submission
from slurm.request import setup_lines

MEMORY, MINUTES = "2G", 30  # of a job that plans a grid and submits


@dataclass(frozen=True)
class Again:
    """The command that submits the next round of a grid.

    Attributes:
        request: the grid; its paths are made absolute.
        profile: name or path of the profile.
        only, parallel: as given.
    """

    request: Request
    profile: str
    only: str | None
    parallel: int | None

    def words(self) -> list[str]:
        """Return the command's words after ``bench.py``."""
        request = self.request
        profile = str(Path(self.profile).resolve()) if Path(self.profile).is_file() else self.profile
        words = ["submit", str(grid_path(request.grid).resolve()), "--profile", profile, "--yes", "--next-round"]
        words += ["--store", str(request.store.resolve())]
        words += [word for value in request.sets for word in ("--set", value)]
        for value in request.data:
            name, _, folder = value.partition("=")
            words += ["--data", f"{name}={Path(folder).resolve()}"]
        words += ["--only", self.only] if self.only else []
        return words + (["--parallel", str(self.parallel)] if self.parallel else [])


def follow(store: Path, made: Submission, profile: Profile) -> None:
    """Submit the job that submits the next round when all arrays of a submission have ended, however they end.

    With the executor `local` there is no such job: ``wait`` goes on then.

    Raises:
        SlurmError: if Slurm doesn't take it; ``wait`` or another ``submit`` goes on then, too.
    """
    ids = [str(array.job_id) for array in made.arrays if array.job_id is not None]
    if profile.executor == "local" or not made.again or not ids:
        return
    folder, code = made.path(store).resolve(), Path(made.snapshot)
    interpreter = profile.python or sys.executable
    command = shlex.join([interpreter, str(code / "bench.py"), *made.again])
    script = folder / "next.sh"
    script.write_text("\n".join(["#!/bin/bash", *setup_lines(profile, code), f"exec {command}", ""]))
    where = {"partition": profile.partition, "account": profile.account, "qos": profile.qos}
    options = [f"--{key}={value}" for key, value in where.items() if value is not None]
    with outside_any_job():
        answer = commands.ask(
            "sbatch",
            "--parsable",
            f"--job-name=bench-{made.id}-next",
            f"--dependency=afterany:{':'.join(ids)}",
            f"--chdir={code}",
            f"--output={folder / 'next.log'}",
            f"--time={MINUTES}",
            f"--mem={MEMORY}",
            *options,
            str(script),
        )
    made.follow_up = answer.strip().split(";")[0]
    made.write(store)


def waits(job: str) -> bool:
    """Tell whether a follow-up job is in the queue."""
    try:
        return bool(commands.ask("squeue", "--noheader", "--jobs", job, "--format", "%i").strip())
    except SlurmError:
        return False


def latest(store: Path, grid: str) -> Submission | None:
    """Return the newest submission of a grid that knows how to go on."""
    found = [made for made in records.submissions(store) if made.grid == grid and made.again]
    return found[-1] if found else None


def forget(store: Path, grid: str) -> list[str]:
    """Take back the follow-up jobs of a grid, so that nothing is submitted any more; return their ids.

    Raises:
        SlurmError: if Slurm doesn't answer; they stay as they are.
    """
    taken = []
    for made in records.submissions(store):
        if made.grid == grid and made.follow_up is not None:
            if waits(made.follow_up):
                commands.ask("scancel", made.follow_up)
                taken.append(made.follow_up)
            made.follow_up, made.again = None, []
            made.write(store)
    return taken


def go_on(words: Sequence[str]) -> bool:
    """Submit the next round from here, as its job would; tell whether that went well."""
    script = Path(__file__).parents[1] / "bench.py"
    done = subprocess.run(
        [sys.executable, str(script), *words], env=child_environment(), stdout=sys.stderr, check=False
    )
    return done.returncode == 0
