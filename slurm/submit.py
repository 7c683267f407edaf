"""Submitting: requests become job arrays, written down before Slurm is asked and again when it has accepted them."""

from __future__ import annotations

import os
import shlex
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.files import concurrently
from bench.machine import gpu_for
from bench.store import clock
from bench.store.job import Job
from bench.store.run import Run
from bench.store.ticket import Ticket, sound_ticket
from slurm import records, rolling, snapshot
from slurm.commands import outside_any_job
from slurm.job import run_task
from slurm.names import job_name
from slurm.plain_path import plain
from slurm.profiles import Profile
from slurm.records import Array, Submission
from slurm.request import ArrayRequest, make_executor, setup_lines
from slurm.task import Task

if TYPE_CHECKING:
    from submitit import AutoExecutor


def record_submission(
    store: Path, grid: str, requests: Sequence[ArrayRequest], jobs: Sequence[Job], moves: int = 0
) -> Submission:
    """Write down what is going to be submitted, and give every cell its ticket; Slurm is not asked yet.

    Args:
        store: the run store.
        grid: the grid's name.
        requests: the arrays.
        jobs: from ``bench.plan.jobs.make_jobs``, at least one for every cell.
        moves: see :class:`Ticket`.

    Returns:
        The submission, whose arrays have no job id yet.
    """
    code = plain(snapshot.take(records.folder(store) / "code"))
    number = records.new_id()
    until = {job.cell_id: job.until for job in jobs if job.until is not None}
    arrays = [
        Array(
            job_name(grid, number, i, [p.cell.id for p in r.cells]),
            [p.cell.id for p in r.cells],
            {**r.profile.model_dump(mode="json"), "environment": {}},
            r.tasks,
            variables=records.keep_variables(
                records.folder(store) / number / f"environment-{i}.sh", r.profile.environment
            ),
            until={p.cell.id: until[p.cell.id] for p in r.cells if p.cell.id in until},
        )
        for i, r in enumerate(requests)
    ]
    first = jobs[0]
    made = Submission(
        number,
        grid,
        str(code),
        arrays,
        socket.gethostname(),
        first.data,
        first.resources,
        first.retry,
        moves,
        time=clock.now(store),
    )
    made.write(store)
    tickets = [
        (Run(store / cell), Ticket(number, a, index, moves, made.time))
        for a, array in enumerate(arrays)
        for index, cell in enumerate(array.cells)
    ]
    concurrently(lambda one: one[1].write(one[0]), tickets)
    return made


def send(
    store: Path, made: Submission, on_accepted: Callable[[Array], None] = lambda _: None, hold: bool = False
) -> None:
    """Hand a submission's arrays to the executor, and write down each one's id as soon as it is known.

    Args:
        store: the run store.
        made: from :func:`record_submission`.
        on_accepted: called after each array that was accepted.
        hold: Slurm is to hold them until :mod:`slurm.sharing` has dealt out what may run.

    Raises:
        BenchError: if an array is refused; its cells, and those after it, lose their tickets. What only a limit on the
            number of queued jobs refuses stays in the record as deferred.
    """

    def hand_over(array: Array) -> None:
        if hold and array.profile.get("executor") == "slurm":
            array.held = True
            made.write(store)
        array.job_id = _send_one(store, made, array)
        array.deferred = ""
        made.write(store)
        on_accepted(array)

    full = ""
    for number, array in enumerate(list(made.arrays)):
        if array.job_id is not None or not array.cells:
            continue
        try:
            if full:
                array.deferred = full
            elif not rolling.send_what_fits(store, made, number, hand_over):
                full = made.arrays[-1].deferred or array.deferred
        except Exception as error:
            withdraw(store, made, range(number, len(made.arrays)))
            why = " ".join(str(error).split())
            raise BenchError(f"{array.name}: not accepted: {why}; {_accepted(made)}") from None
    made.write(store)


def _accepted(made: Submission) -> str:
    count = sum(len(a.cells) for a in made.arrays if a.job_id is not None)
    return f"{count} cells were accepted before it" if count else "nothing was submitted"


def withdraw(store: Path, made: Submission, numbers: Iterable[int]) -> None:
    """Take back the tickets of arrays that Slurm has not accepted, given by their numbers in the submission."""
    for number in numbers:
        for cell in made.arrays[number].cells:
            run = Run(store / cell)
            ticket = sound_ticket(run)
            if ticket is not None and ticket.submission == made.id:
                run.ticket.unlink()
        made.arrays[number].cells = []
    made.write(store)


def tasks_of(store: Path, made: Submission, array: Array) -> Iterator[Task]:
    """Yield the tasks of an array in order."""
    profile = array.resources()
    resources = profile.resources(made.resources)
    jobs = [
        Job(str(store.resolve()), cell, made.data, resources, made.retry, made.id, array.until_of(cell))
        for cell in array.cells
    ]
    if profile.executor == "local":
        threads = resources.get("threads") or profile.cpus
        shared = tuple(replace(job, resources={**resources, "threads": threads}) for job in jobs)
        for _ in range(array.tasks):
            yield _task(shared, profile, made)
        return
    for start in range(0, len(jobs), profile.pack):
        yield _task(tuple(jobs[start : start + profile.pack]), profile, made)


def _task(jobs: tuple[Job, ...], profile: Profile, made: Submission) -> Task:
    names, side = "comment" not in profile.options, profile.executor == "slurm" and len(jobs) > 1
    return Task(jobs, profile.max_requeues, profile.retries.infrastructure, profile.grace, made.grid, names, side)


def jobs_folder(store: Path, made: Submission) -> Path:
    """Return where submitit keeps a submission's scripts, pickles and logs."""
    return plain(made.path(store).resolve() / "jobs")


def _send_one(store: Path, made: Submission, array: Array) -> str | list[int]:
    profile = array.resources()
    if array.held:
        profile = profile.model_copy(update={"options": {**profile.options, "hold": True}})
    tasks = list(tasks_of(store, made, array))
    with outside_any_job():
        executor = make_executor(profile, jobs_folder(store, made), Path(made.snapshot), array.name, array.variables)
        if profile.executor == "slurm":
            return str(executor.map_array(run_task, tasks)[0].job_id).split("_")[0]
        with _detached():
            return _start_workers(executor, setup_lines(profile, Path(made.snapshot), array.variables), tasks, profile)


def _start_workers(executor: AutoExecutor, setup: list[str], tasks: list[Task], profile: Profile) -> list[int]:
    """Start local workers, each on GPUs of its own as long as there are any; return their process ids."""
    found = []
    for number, task in enumerate(tasks):
        gpu = gpu_for(number, max(profile.gpu_count, 1))
        mine = [] if gpu is None else [f"export CUDA_VISIBLE_DEVICES={shlex.quote(gpu)}"]
        executor.update_parameters(local_setup=[*setup, *mine])
        found.append(int(executor.submit(run_task, task).job_id))
    return found


@contextmanager
def _detached() -> Iterator[None]:
    """Let processes that start here outlive the terminal: they ignore its hang-up, and hold none of its files."""
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    kept = [os.dup(number) for number in range(3)]
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    try:
        yield
    finally:
        for number, file in enumerate(kept):
            os.dup2(file, number)
            os.close(file)
        os.close(nothing)
        signal.signal(signal.SIGHUP, old)
