"""What runs on the node: a task's cells, and what makes a cell go on elsewhere or later where this job can't."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench import streams
from bench.patience import is_away
from bench.run.signals import Signals
from bench.store.failures import blames_node
from bench.store.job import Job, holds_ticket
from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.ticket import sound_ticket
from slurm import records, stopping, telling
from slurm.mending import mend_ticket
from slurm.packed import run_side_by_side
from slurm.stopping import Cause
from slurm.task import ASK_OUTSIDE, LOCAL_REQUEUE, NO_STORE, TRY_AGAIN, Task

STORE_WAIT = 120.0  # seconds that a file system may take to show the store
# What can become of a cell, beside the states of a run.
TAKEN_BACK, TAKEN_OVER, NOT_STARTED = "cancelled, or submitted anew", "taken over by another process", "not started"
# Ends after which a job goes on later; RUNNING: stopped while it waited for the process of an earlier start.
GOES_ON = (State.PREEMPTED.value, State.RUNNING.value, State.QUEUED.value, NOT_STARTED)


def run_task(task: Task) -> list[str]:
    """Run the cells of a task; return what became of each."""
    signals = Signals()
    runs = [Run(Path(job.store) / job.cell_id) for job in task.jobs]
    with signals.listening(), _looking_after(task), telling.told(runs):
        if task.comment and "SLURM_JOB_ID" in os.environ and not _is_local():
            telling.comment([run.id for run in runs])
        ends = _side_by_side(task, signals) if task.side_by_side else _one_after_the_other(task, signals)
    left = [job for job, end in ends if end in GOES_ON and holds_ticket(Run(Path(job.store) / job.cell_id), job)]
    if signals.received is not None and left:
        if not _is_local() and shutil.which("scontrol") is None:
            sys.exit(ASK_OUTSIDE)
        go_on_later(task, left, signals.received)
    return [f"{job.cell_id}: {end}" for job, end in ends]


def _one_after_the_other(task: Task, signals: Signals) -> list[tuple[Job, str]]:
    ends = list[tuple[Job, str]]()
    for job in task.jobs:
        end = run_if_open(task, job, signals) if len(task.jobs) > 1 else _run(task, job, signals)
        ends.append((job, end))
        if signals.received is not None:
            break
        if job is not task.jobs[-1] and end == State.FAILED.value and _device_lost(job):
            _start_afresh()
    return ends


def _side_by_side(task: Task, signals: Signals) -> list[tuple[Job, str]]:
    codes = run_side_by_side(task, signals)
    ends = [(job, _ended(job, code)) for job, code in zip(task.jobs, codes, strict=True)]
    if signals.received is None and NO_STORE in codes:
        sys.exit(NO_STORE)
    return ends


def _ended(job: Job, code: int) -> str:
    """Return what became of a cell whose process has ended; where that couldn't say it itself, it is written down here."""
    run = Run(Path(job.store) / job.cell_id)
    state = current_state(run)
    if code not in (0, NO_STORE, TRY_AGAIN) and state.get("gone"):
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        with run.claim() as mine:
            if mine and not run.is_done():
                run.write_state(State.FAILED, reason=f"its process {how}; the cells beside it went on")
        return State.FAILED.value
    return state["state"]


def _looking_after(task: Task) -> AbstractContextManager[None]:
    from slurm.tending import tended  # late: a job that submits jobs

    return (
        contextlib.nullcontext()
        if _is_local() or not (task.grid and "SLURM_JOB_ID" in os.environ)
        else tended(Path(task.jobs[0].store), task.grid)
    )


def run_if_open(task: Task, job: Job, signals: Signals) -> str:
    """Run a cell that no other worker has ended or works on; whatever goes wrong with it harms no other cell."""
    try:
        run = Run(Path(job.store) / job.cell_id)
        mend_ticket(run, job)
        state = current_state(run)["state"]
        return _run(task, job, signals) if state in (State.QUEUED.value, State.PREEMPTED.value) else f"is {state}"
    except Exception as error:
        traceback.print_exc()
        return f"left alone: {error}"


def _device_lost(job: Job) -> bool:
    return bool(Run(Path(job.store) / job.cell_id).last_state().get("device_lost"))


def _start_afresh() -> None:
    """Become a new process that runs the same task, whose ended cells it leaves alone.

    After some errors of CUDA nothing works on the device any more in the process that had them.
    """
    print("the device is lost to this process; the other cells get a new one", flush=True)
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (our own command line)


def _run(task: Task, job: Job, signals: Signals) -> str:
    run = _visible(Run(Path(job.store) / job.cell_id))
    try:
        return _run_visible(task, run, job, signals)
    except Exception as error:
        if not is_away(error, run.cell):
            raise
        streams.say(traceback.format_exc())
        _log_here(f"{run.path}: can't be written: {error}")
        if signals.received is None:
            sys.exit(NO_STORE)
        return State.PREEMPTED.value  # of its last checkpoint


def _run_visible(task: Task, run: Run, job: Job, signals: Signals) -> str:
    from bench.run.worker import run_cell

    mend_ticket(run, job)
    if not holds_ticket(run, job):
        return TAKEN_BACK
    if signals.received is not None:
        return NOT_STARTED
    with _printing_to(run.log):
        state = run_cell(job, signals)
        while state is State.RUNNING and len(task.jobs) == 1 and signals.received is None:
            # A process of an earlier start of this job still lives. It ends the cell, or dies and leaves it to us.
            time.sleep(2)
            state = run_cell(job, signals)
        if state is State.FAILED:
            _move_elsewhere(run, job, task.retries)
    return TAKEN_OVER if state is None else state.value


def _move_elsewhere(run: Run, job: Job, retries: int) -> None:
    """Note a node that failed a cell, and send the cell to another one, where it goes on from its checkpoint."""
    state, node = run.last_state(), os.environ.get("SLURMD_NODENAME")
    if node is None or not blames_node(state) or _is_local():
        return
    records.note_failure(Path(job.store), node, run.id, str(state.get("reason")))
    from slurm.moving import move  # late: a job that submits a job

    move(Path(job.store), run, job, node, retries)


# -- what comes after a signal -----------------------------------------------------------------------------------------


def go_on_later(task: Task, jobs: Sequence[Job], received: int) -> None:
    """Requeue the job after a preemption or at the time limit; whatever else Slurm or a person ended stays ended."""
    if _is_local():
        if received == signal.SIGUSR2:
            sys.exit(LOCAL_REQUEUE)
        return
    runs = [Run(Path(job.store) / job.cell_id) for job in jobs]
    cause = stopping.why(task.grace)
    if cause is Cause.REQUEUED:
        stopping.await_end()
    if cause is Cause.CANCELLED:
        _end(runs, State.CANCELLED, "its job was cancelled (scancel)")
        return
    if cause in (Cause.SIGNALLED, Cause.UNKNOWN):
        _end(
            runs, State.PREEMPTED, f"stopped by {signal.Signals(received).name}: {cause.value}; submit goes on with it"
        )
        sys.exit(TRY_AGAIN)
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    if restarts >= task.max_requeues:
        reason = f"its job was stopped {restarts + 1} times, the profile's max_requeues is {task.max_requeues}"
        _end(runs, State.TIMED_OUT, f"{reason}; retry goes on from its checkpoint")
        return
    stopping.requeue()


def _end(runs: Sequence[Run], state: State, reason: str) -> None:
    """Record how cells ended that stopped with a checkpoint, or never began."""
    for run in runs:
        with run.claim() as mine:
            if mine and current_state(run)["state"] in (State.PREEMPTED.value, State.QUEUED.value):
                ticket = sound_ticket(run)
                run.write_state(state, reason=reason, submission=None if ticket is None else ticket.submission)


def _is_local() -> bool:
    """Tell whether this is a process of submitit's LocalExecutor, which may itself stand in some Slurm job."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "local"


def _visible(run: Run) -> Run:
    """Wait for the run's directory to appear; a file system may be late on a node that has just come up.

    Raises:
        SystemExit: if it doesn't; Slurm then says that the job failed, and ``status`` what the files don't.
    """
    deadline = time.monotonic() + STORE_WAIT
    while not os.path.exists(run.cell):  # noqa: PTH110 - Path.exists raises some errors of a file system that is away
        if time.monotonic() > deadline:
            line = f"{run.cell}: not visible on {os.environ.get('SLURMD_NODENAME')} for {STORE_WAIT:.0f} s"
            sys.stderr.write(f"{line}\n")
            _log_here(line)
            sys.exit(TRY_AGAIN)
        time.sleep(1)
    return run


def _log_here(line: str) -> None:
    """Leave word on the node, for want of a store."""
    name = stopping.job_id() if "SLURM_JOB_ID" in os.environ else str(os.getpid())
    with (
        contextlib.suppress(OSError),
        (Path(tempfile.gettempdir()) / f"bench-{name}.log").open("a", encoding="utf-8") as file,
    ):
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}\n")


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Send everything printed to a run's log, at the level of file descriptors: what libraries print is there too."""
    kept = [os.dup(1), os.dup(2)]
    with log.open("ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the store may be away
                stream.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
