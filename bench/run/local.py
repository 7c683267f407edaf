"""Runs cells on this machine, each in a process of its own, a few at a time.

Processes are forked from a server that has imported torch once, so a cell starts in milliseconds; a cell that crashes, or
is killed for its memory, takes nothing else with it, and neither does the server.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from bench.machine import gpu_for, let_threads_sleep, usable_memory
from bench.patience import is_away
from bench.processes import tidy_up_for_parent
from bench.run.child import Child, print_to
from bench.run.limit import TimeLimit
from bench.run.signals import Interrupted, raising
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.liveness import current_state
from bench.store.run import Run, State

AWAY = 75  # exit code (EX_TEMPFAIL): the file system didn't answer, not even to take the reason


@dataclass(frozen=True)
class Event:
    """Something to show: a cell started or ended, or (`state` None) time has passed."""

    cell_id: str | None
    state: State | None
    running: tuple[str, ...]


def _enter(alive: Connection, job: Job, gpu: str | None, parent: Connection) -> None:
    """Run a cell in a child process, with everything printed going to the run's log; `alive` is closed by its end."""
    run = Run(Path(job.store) / job.cell_id)
    print_to(run.log)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    threading.Thread(target=_stop_with, args=(parent,), name="parent", daemon=True).start()
    try:
        run_cell(job)
    except Exception as error:
        if is_away(error, run.cell):
            sys.exit(AWAY)
        raise
    with contextlib.suppress(OSError):  # a full disk takes no more of what was printed
        sys.stdout.flush()


def _stop_with(parent: Connection) -> None:
    """Wait for the parent's end of a pipe to close, which its death does as well; then ask this process to stop.

    The cell writes a checkpoint then, as after any TERM, and nothing trains on unsupervised.
    """
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os.kill(os.getpid(), signal.SIGTERM)
    tidy_up_for_parent()


def run_local(
    jobs: Sequence[Job], workers: int, show: Callable[[Event], None], limit: TimeLimit | None = None
) -> dict[str, State]:
    """Run jobs, at most `workers` at a time, and return the state of each that ended.

    Args:
        jobs: in order.
        workers: processes at a time; with fewer GPUs than workers, several share one.
        show: called about four times a second, and when a cell starts or ends.
        limit: of the time; jobs that can't end within it aren't begun, and what runs at its end is asked to stop.

    Raises:
        Interrupted: after Ctrl-C, TERM or HUP, when every running cell has written its checkpoint.
    """
    let_threads_sleep()
    modules = sorted({name for job in jobs for name in job.modules})
    waiting, states = list(reversed(jobs)), dict[str, State]()
    running: dict[int, tuple[Child, Job]] = {}
    parent, ours = multiprocessing.Pipe(duplex=False)  # `ours` stays in this process: its end is what children wait for
    with raising(), contextlib.closing(ours), contextlib.closing(parent), _stop_children(running):
        while waiting or running:
            for slot in sorted(set(range(workers)) - set(running)):
                job = _next(waiting, limit)
                if job is None:
                    break
                gpu = gpu_for(slot, int(job.resources.get("processes", 1)))
                running[slot] = (Child(_enter, job, gpu, parent, modules=modules), job)
                show(Event(job.cell_id, None, _ids(running)))
            if limit is not None and limit.over:
                _ask_to_stop(running, limit)
            wait([child.alive for child, _ in running.values()], timeout=0.25)
            for slot, (child, job) in list(running.items()):
                if child.ended:
                    del running[slot]
                    states[job.cell_id] = outcome(job, child.pid, child.exit_code())
                    show(Event(job.cell_id, states[job.cell_id], _ids(running)))
            show(Event(None, None, _ids(running)))
    return states


def _next(waiting: list[Job], limit: TimeLimit | None) -> Job | None:
    """Take the next job that may begin off the end of the list; those that may not are taken off too."""
    while waiting:
        job = waiting.pop()
        if limit is None or limit.lets(job):
            return job
    return None


def _ask_to_stop(running: Mapping[int, tuple[Child, Job]], limit: TimeLimit) -> None:
    """Ask the cells that run to write a checkpoint and end, each once."""
    for child, job in running.values():
        if job.cell_id not in limit.stopped:
            limit.stopped.add(job.cell_id)
            child.send(signal.SIGTERM)


def _ids(running: dict[int, tuple[Child, Job]]) -> tuple[str, ...]:
    return tuple(job.cell_id for _, job in running.values())


def outcome(job: Job, pid: int | None, code: int | None) -> State:
    """Return the state of a cell whose process has ended; one that was killed gets its reason from here.

    A cell that another process has, on this machine or on another one, is left alone: `running` is returned.

    Args:
        job: the cell.
        pid: of the process.
        code: its exit code, negative for a signal, None where it isn't known.
    """
    run, here = Run(Path(job.store) / job.cell_id), (socket.gethostname(), pid)
    if run.is_done():
        return State(current_state(run)["state"])  # done, or damaged
    record = run.last_state()
    state, began = State(record["state"]), (record.get("host"), record.get("pid")) == here
    if code == 0 or (state is State.RUNNING and run.claimed_by() != here) or (state is not State.RUNNING and began):
        return state  # it said itself how it ended, or the cell is somebody else's
    with run.claim() as mine:
        if run.is_done():
            return State(current_state(run)["state"])
        if not mine:
            return State.RUNNING
        if run.last_state() != record:  # somebody took it over since the first look, and has ended
            return State(run.last_state()["state"])
        state, reason = _ended(code)
        run.write_state(state, reason=f"{reason}{'' if began else ' before it began'}; see {run.log}")
    return state


def _ended(code: int | None) -> tuple[State, str]:
    """Return the state that an exit code means, and the reason in words."""
    if code is None:
        return State.PREEMPTED, "its process is gone, and with it whoever knew why"
    if code == AWAY:
        return State.PREEMPTED, "the file system did not answer"
    if code >= 0:
        return State.FAILED, f"its process ended with {code}"
    reason = f"its process was killed by signal {-code}"
    if code == -signal.SIGKILL:
        reason += f" (the kernel does this when memory runs out: {usable_memory() / 2**30:.1f} GiB are allowed here)"
    return State.PREEMPTED, reason


@contextlib.contextmanager
def _stop_children(running: dict[int, tuple[Child, Job]]) -> Iterator[None]:
    """When interrupted, let every child write its checkpoint; when interrupted again, kill them."""
    try:
        yield
    except BaseException:
        # A terminal that closes may say so twice, which must not be taken for impatience.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with contextlib.suppress(Interrupted):
            for child, _ in running.values():
                child.send(signal.SIGTERM)
            for child, _ in running.values():
                wait([child.alive])
        for child, _ in running.values():
            child.send(signal.SIGKILL)
            wait([child.alive])
        raise
