"""The rounds of a tuned grid on a cluster: a small job after each one's end submits the next, so that no shell is needed.

A submission after which there is more to do has a :class:`slurm.records.Next`. Its job, ``wait`` and a person's ``submit``
may all come to submit that round; whoever gets the store's lock first does, and closes it for the others.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.machine import child_environment
from bench.plan.request import Request
from bench.spec.grid import grid_path
from slurm import commands, records, snapshot
from slurm.commands import SlurmError, SlurmJob, outside_any_job
from slurm.names import next_name
from slurm.plain_path import plain
from slurm.profiles import Profile
from slurm.records import Next, Submission
from slurm.request import setup_lines

MEMORY, MINUTES = "2G", 30  # of a job that plans a grid and submits
PATIENCE = 600.0  # seconds that such a job waits for another submitter
LATER = 300  # seconds after which it looks again, where no job in the queue has the open trials
GRACE = 60.0  # seconds that ``wait`` leaves to such a job, of a round that has ended, until it starts


@dataclass(frozen=True)
class Again:
    """What is to be submitted again in the next round.

    Attributes:
        request: the grid.
        profile: name or path of the profile.
        only, parallel: as given.
    """

    request: Request
    profile: str
    only: str | None
    parallel: int | None

    def note(self, store: Path, made: Submission) -> None:
        """Write down how a submission goes on, with the grid as it is now; paths are made absolute."""
        grid = made.path(store).resolve() / f"{self.request.name}.yaml"
        shutil.copyfile(grid_path(self.request.grid), grid)
        profile = str(Path(self.profile).resolve()) if Path(self.profile).is_file() else self.profile
        words = ["submit", *self._shared(grid), "--profile", profile, "--yes", "--next-round", made.id]
        words += ["--only", self.only] if self.only else []
        words += ["--parallel", str(self.parallel)] if self.parallel else []
        made.next = Next(words, list(self.request.sets), self.only, str(Path.cwd()))
        made.write(store)

    def waiting(self, made: Submission, store: Path) -> list[str]:
        """Return the words after ``bench.py`` that wait for a submission's grid to end."""
        return ["wait", *self._shared(made.path(store).resolve() / f"{self.request.name}.yaml")]

    def _shared(self, grid: Path) -> list[str]:
        words = [str(grid), "--store", str(self.request.store.resolve())]
        words += [word for value in self.request.sets for word in ("--set", value)]
        for value in self.request.data:
            name, _, folder = value.partition("=")
            words += ["--data", f"{name}={Path(folder).resolve()}"]
        return words


# -- what submits the next round ---------------------------------------------------------------------------------------


def follow(store: Path, made: Submission, profile: Profile, others: Iterable[str] = ()) -> None:
    """Submit the job that submits the next round when all arrays of a submission have ended, however they end.

    Args:
        store: the run store.
        made: the submission, with its `next`.
        profile: for the partition, the account, and what comes before Python.
        others: further jobs to wait for. Without any job it starts after ``LATER`` seconds.

    Raises:
        SlurmError: if Slurm doesn't take it; ``wait`` or another ``submit`` goes on then.
    """
    assert made.next is not None
    ids = sorted({*(array.job_id for array in made.arrays if isinstance(array.job_id, str)), *others})
    folder, code = made.path(store).resolve(), Path(made.snapshot)
    # Within a container there is no sbatch; outside of it the interpreter that submits knows how to do that again.
    interpreter = sys.executable if profile.container else profile.python or sys.executable
    command = shlex.join([interpreter, str(code / "bench.py"), *made.next.words])
    script = folder / "next.sh"
    variables = records.keep_variables(folder / f"environment-{records.new_id()}.sh", profile.environment)
    # What a grid names relative to a folder is found there again.
    lines = [*setup_lines(profile, code, variables), f"cd {shlex.quote(made.next.folder)}", f"exec {command}"]
    script.write_text("\n".join(["#!/bin/bash", *lines, ""]), encoding="utf-8")
    where = {"partition": profile.partition, "account": profile.account, "qos": profile.qos}
    options = [f"--{key}={value}" for key, value in where.items() if value is not None]
    options += [f"--dependency=afterany:{':'.join(ids)}" if ids else f"--begin=now+{LATER}"]
    options += [f"--job-name={name(made)}", f"--time={MINUTES}", f"--mem={MEMORY}"]
    options += [f"--chdir={code}", f"--output={plain(log(store, made))}", "--open-mode=append"]
    with outside_any_job():
        answer = commands.ask("sbatch", "--parsable", *options, str(script))
    made.next.job, made.next.waits_for = answer.strip().split(";")[0], ids
    made.write(store)


def watch(store: Path, made: Submission, again: Again) -> None:
    """Start a process that goes through all rounds where there is no Slurm; it outlives the terminal, as the workers do."""
    with log(store, made).open("ab") as file:
        _start = subprocess.Popen(
            _command(made, again.waiting(made, store)),
            env=_environment(made),
            cwd=Path.cwd(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    _start.returncode = 0  # nobody waits for it


def go_on(made: Submission) -> bool:
    """Submit the next round from here, with the submission's code as its job would; tell whether that went well."""
    assert made.next is not None
    folder = made.next.folder if Path(made.next.folder).is_dir() else None
    done = subprocess.run(
        _command(made, made.next.words),
        env=_environment(made),
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    sys.stderr.write(done.stdout + done.stderr)
    return done.returncode == 0


def _command(made: Submission, words: list[str]) -> list[str]:
    return [sys.executable, str(Path(made.snapshot) / "bench.py"), *words]


def _environment(made: Submission) -> dict[str, str]:
    return {**child_environment(), **snapshot.environment(Path(made.snapshot))}


# -- whose turn it is --------------------------------------------------------------------------------------------------


def name(made: Submission) -> str:
    """Return the name of the job that submits the next round."""
    return next_name(made.grid, made.id)


def log(store: Path, made: Submission) -> Path:
    """Return what the job that submits the next round prints."""
    return made.path(store).resolve() / "next.log"


def open_rounds(store: Path, request: Request) -> list[Submission]:
    """Return the submissions of a grid after which a round is still to be submitted, the oldest first."""
    found = [made for made in records.submissions(store) if made.grid == request.name and made.next is not None]
    return [made for made in found if made.next and not made.next.closed and made.next.sets == list(request.sets)]


def scope(store: Path, request: Request, only: str | None) -> str | None:
    """Return the ``--only`` with which a grid goes on after some of its cells are retried: that of its last round.

    Args:
        store: the run store.
        request: the grid.
        only: of the retry; for a grid without any round.
    """
    made = [one for one in records.submissions(store) if one.grid == request.name]
    known = [one.next for one in made if one.next is not None and one.next.sets == list(request.sets)]
    return known[-1].only if known else only


def is_closed(store: Path, submission: str) -> bool:
    """Tell whether the round after a submission has been submitted, or is no longer to be; the store's lock is held."""
    made = records.read_submission(store, submission)
    return made is None or made.next is None or made.next.closed


def close(store: Path, made: Submission, why: str = "") -> None:
    """Note that the round after a submission is not to be submitted any more, and take its job back.

    A job that Slurm keeps in spite of it finds it closed. The store's lock is held.

    Args:
        store: the run store.
        made: the submission, with its `next`.
        why: what a person should know; "" where another submission went on.
    """
    assert made.next is not None
    made.next.closed, made.next.why = True, why
    made.write(store)
    if made.next.job is not None and made.next.job != os.environ.get("SLURM_JOB_ID"):
        with contextlib.suppress(SlurmError):
            commands.ask("scancel", made.next.job)


def state_of(job: str) -> str | None:
    """Return Slurm's word for a job in the queue, None for one that isn't there.

    Raises:
        SlurmError: if Slurm doesn't answer.
    """
    try:
        return commands.ask("squeue", "--noheader", "--jobs", job, "--all", "--format", "%T").strip() or None
    except SlurmError as error:
        if "Invalid job id" in str(error):  # one that Slurm has forgotten
            return None
        raise


def said(store: Path, made: Submission, jobs: Mapping[tuple[str, str], SlurmJob] | None) -> str | None:
    """Return in a line what becomes of the round after a submission; None where another one went on.

    Args:
        store: the run store.
        made: the submission.
        jobs: those in the queue, by id and name; None where Slurm doesn't answer.
    """
    if made.next is None or (made.next.closed and not made.next.why):
        return None
    if made.next.closed:
        return f"no next round: {made.next.why}"
    job = made.next.job
    if job is None:
        here = any(isinstance(array.job_id, list) for array in made.arrays)
        who = f"a process on {made.host} submits it when these have ended" if here else "no job submits it"
        return f"next round: {who}; so do `wait` and `submit`"
    found = None if jobs is None else jobs.get((job, name(made)))
    if found is None and jobs is not None:
        return f"next round: job {job} has ended without it, see {log(store, made)}; `wait` or `submit` goes on"
    if found is not None and found.state == "RUNNING":
        return f"next round: job {job} submits it now"
    others = found.reason if found is not None and found.reason not in ("", "Dependency") else ""
    return f"next round: job {job}, waits for {others or ', '.join(made.next.waits_for) or 'cells that run'}"


@dataclass
class Waiter:
    """Goes on with a grid's rounds for ``wait``, where nothing else does.

    Attributes:
        request: the grid.
    """

    request: Request
    _tried: set[str] = field(default_factory=set)
    _since: dict[str, float] = field(default_factory=dict)

    def goes_on(self) -> bool:
        """Tell whether the grid goes on, none of whose cells is open: its job is about to, or a round was submitted here."""
        found = open_rounds(self.request.store, self.request)
        if any(self._is_coming(made) for made in found):
            return True
        for made in found:
            if made.id not in self._tried:
                self._tried.add(made.id)
                if go_on(made):
                    return True
        return False

    def _is_coming(self, made: Submission) -> bool:
        if made.next is None or made.next.job is None:
            return False
        try:
            state = state_of(made.next.job)
        except SlurmError:
            return True
        since = self._since.setdefault(made.next.job, time.monotonic())
        return state is not None and (state != "PENDING" or time.monotonic() - since < GRACE)
