"""What runs on the node: a task's cells, and what makes a cell go on elsewhere or later where this job can't."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.run.signals import Signals
from bench.store.failures import blames_node
from bench.store.job import Job, holds_ticket
from bench.store.liveness import current_state
from bench.store.run import Run, State
from slurm import records
from slurm.task import LOCAL_REQUEUE, TRY_AGAIN, Task

STORE_WAIT = 120.0  # seconds that a file system may take to show the store
# What can become of a cell, beside the states of a run.
TAKEN_BACK, TAKEN_OVER, NOT_STARTED = "cancelled, or submitted anew", "taken over by another process", "not started"


def run_task(task: Task) -> list[str]:
    """Run the cells of a task; return what became of each."""
    signals, ends, end = Signals(), list[str](), ""
    with signals.listening():
        for job in task.jobs:
            end = _run_if_open(task, job, signals) if len(task.jobs) > 1 else _run(task, job, signals)
            ends.append(f"{job.cell_id}: {end}")
            if signals.received is not None:
                break
            if job is not task.jobs[-1] and end == State.FAILED.value and _device_lost(job):
                _start_afresh()
    # RUNNING: stopped while it waited for the process of an earlier start.
    if signals.received is not None and end in (State.PREEMPTED.value, State.RUNNING.value, NOT_STARTED):
        _go_on_later(task, job, signals.received)
    return ends


def _run_if_open(task: Task, job: Job, signals: Signals) -> str:
    """Run a cell that no other worker has ended or works on; whatever goes wrong with it harms no other cell."""
    try:
        state = current_state(Run(Path(job.store) / job.cell_id))["state"]
        return _run(task, job, signals) if state in (State.QUEUED.value, State.PREEMPTED.value) else f"is {state}"
    except Exception as error:
        traceback.print_exc()
        return f"left alone: {error}"


def _device_lost(job: Job) -> bool:
    return bool(Run(Path(job.store) / job.cell_id).read_state().get("device_lost"))


def _start_afresh() -> None:
    """Become a new process that runs the same task, whose ended cells it leaves alone.

    After some errors of CUDA nothing works on the device any more in the process that had them.
    """
    print("the device is lost to this process; the other cells get a new one", flush=True)
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (our own command line)


def _run(task: Task, job: Job, signals: Signals) -> str:
    from bench.run.worker import run_cell

    run = _visible(Run(Path(job.store) / job.cell_id))
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
            _move_elsewhere(run, job, task.max_moves)
    return TAKEN_OVER if state is None else state.value


def _move_elsewhere(run: Run, job: Job, max_moves: int) -> None:
    """Note a node that failed a cell, and send the cell to another one, where it goes on from its checkpoint."""
    state, node = run.read_state(), os.environ.get("SLURMD_NODENAME")
    if node is None or not blames_node(state) or _is_local():
        return
    records.note_failure(Path(job.store), node, run.id, str(state.get("reason")))
    from slurm.submit import move  # late: a job that submits a job

    move(Path(job.store), run, job, node, max_moves)


# -- what comes after a signal -----------------------------------------------------------------------------------------


def _go_on_later(task: Task, job: Job, received: int) -> None:
    """Requeue the job after a preemption or at the time limit; not after it was cancelled."""
    run = Run(Path(job.store) / job.cell_id)
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    if _is_local():
        if received == signal.SIGUSR2:
            sys.exit(LOCAL_REQUEUE)
        return
    if received != signal.SIGUSR2 and _is_cancelled():
        return
    if restarts >= task.max_requeues:
        with run.claim() as mine:
            if mine and run.read_state()["state"] == State.PREEMPTED.value:
                reason = f"its job was stopped {restarts + 1} times, the profile's max_requeues is {task.max_requeues}"
                run.write_state(State.TIMED_OUT, reason=f"{reason}; retry goes on from its checkpoint")
        return
    _requeue()


def _is_local() -> bool:
    """Tell whether this is a process of submitit's LocalExecutor, which may itself stand in some Slurm job."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "local"


def _visible(run: Run) -> Run:
    """Wait for the run's directory to appear; a file system may be late on a node that has just come up.

    Raises:
        SystemExit: if it doesn't; Slurm then says that the job failed, and ``status`` what the files don't.
    """
    deadline = time.monotonic() + STORE_WAIT
    while not run.cell.exists():
        if time.monotonic() > deadline:
            sys.stderr.write(f"{run.cell}: not visible on {os.environ.get('SLURMD_NODENAME')} for {STORE_WAIT:.0f} s\n")
            sys.exit(TRY_AGAIN)
        time.sleep(1)
    return run


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
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)


def _job_id() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _is_cancelled() -> bool:
    """Ask Slurm why it sent a TERM: for a cancellation, or because of a preemption or the time limit.

    A cancelled job's processes still see it as COMPLETING, with the time of its end and no reason; one at its time limit has
    that reason, and one that Slurm requeues has no end.
    """
    try:
        command = ["scontrol", "show", "job", "-o", _job_id()]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    facts = dict(word.split("=", 1) for word in said.split() if "=" in word)
    ended = facts.get("Reason") == "None" and facts.get("EndTime") != "Unknown"
    return facts.get("JobState") == "CANCELLED" or (facts.get("JobState") == "COMPLETING" and ended)


def _requeue() -> None:
    """Put this job back into Slurm's queue, and end.

    A controller that doesn't answer is asked again for half a minute. If it never answers, the cell stays `preempted` with
    its checkpoint, and ``submit`` goes on with it.

    Raises:
        SystemExit: in any case; the job is over.
    """
    command = ["scontrol", "requeue", _job_id()]
    for _ in range(6):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"{' '.join(command)}: {error}", flush=True)
            continue
        if done.returncode == 0 or "pending" in done.stderr.lower():
            print(f"requeued {_job_id()}", flush=True)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(60)  # Slurm ends this process; should it end by itself first, the job would count as completed
            sys.exit(0)
        print(f"scontrol requeue {_job_id()}: {done.stderr.strip()}", flush=True)
        time.sleep(5)
    sys.exit(TRY_AGAIN)
