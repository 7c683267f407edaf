"""Runs cells on this machine, each in a process of its own, a few at a time.

Processes are forked from a server that has imported torch once, so a cell starts in milliseconds; a cell that crashes, or
is killed for its memory, takes nothing else with it.
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
from multiprocessing.process import BaseProcess
from pathlib import Path

from bench.machine import gpu_for, let_threads_sleep
from bench.run.limit import TimeLimit
from bench.run.signals import Interrupted, raising
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State

PRELOAD = ["torch", "torchvision", "bench.run.worker", "bench.run.recorder", "bench.train.build", "bench.train.loop"]


@dataclass(frozen=True)
class Event:
    """Something to show: a cell started or ended, or (`state` None) time has passed."""

    cell_id: str | None
    state: State | None
    running: tuple[str, ...]


def _enter(job: Job, gpu: str | None, parent: Connection) -> None:
    """Run a cell in a child process, with everything printed going to the run's log."""
    run = Run(Path(job.store) / job.cell_id)
    run.path.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    threading.Thread(target=_stop_with, args=(parent,), name="parent", daemon=True).start()
    run_cell(job)
    sys.stdout.flush()


def _stop_with(parent: Connection) -> None:
    """Wait for the parent's end of a pipe to close, which its death does as well; then ask this process to stop.

    The cell writes a checkpoint then, as after any TERM, and nothing trains on unsupervised.
    """
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os.kill(os.getpid(), signal.SIGTERM)


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
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    waiting, states = list(reversed(jobs)), dict[str, State]()
    running: dict[int, tuple[BaseProcess, Job]] = {}
    parent, ours = context.Pipe(duplex=False)  # `ours` stays in this process: its end is what children wait for
    with raising(), contextlib.closing(ours), contextlib.closing(parent), _stop_children(running):
        while waiting or running:
            for slot in sorted(set(range(workers)) - set(running)):
                job = _next(waiting, limit)
                if job is None:
                    break
                process: BaseProcess = context.Process(target=_enter, args=(job, gpu_for(slot), parent))
                process.start()
                running[slot] = (process, job)
                show(Event(job.cell_id, None, _ids(running)))
            if limit is not None and limit.over:
                _ask_to_stop(running, limit)
            wait([p.sentinel for p, _ in running.values()], timeout=0.25)
            for slot, (process, job) in list(running.items()):
                if process.exitcode is not None:
                    del running[slot]
                    states[job.cell_id] = _outcome(job, process)
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


def _ask_to_stop(running: Mapping[int, tuple[BaseProcess, Job]], limit: TimeLimit) -> None:
    """Ask the cells that run to write a checkpoint and end, each once."""
    for process, job in running.values():
        if job.cell_id not in limit.stopped:
            limit.stopped.add(job.cell_id)
            process.terminate()


def _ids(running: dict[int, tuple[BaseProcess, Job]]) -> tuple[str, ...]:
    return tuple(job.cell_id for _, job in running.values())


def _outcome(job: Job, process: BaseProcess) -> State:
    """Return the state of a cell whose process has ended; one that was killed gets its reason from here.

    A cell that another process has, on this machine or on another one, is left alone: `running` is returned.
    """
    run = Run(Path(job.store) / job.cell_id)
    state = State(run.read_state()["state"])
    if state is not State.RUNNING:
        return state
    owner = run.owner()
    if process.exitcode == 0 or owner.get("pid") != process.pid or owner.get("host") != socket.gethostname():
        return State.DONE if run.result.exists() else State(run.read_state()["state"])
    with run.claim() as mine:
        state = State(run.read_state()["state"])  # it may have ended, or been taken over, since the first look
        if not mine or state is not State.RUNNING or run.result.exists():
            return State.DONE if run.result.exists() else state
        code = process.exitcode or 0
        reason = f"its process was killed by signal {-code}" if code < 0 else f"its process ended with {code}"
        if code == -signal.SIGKILL:
            reason += " (the kernel does this when memory runs out)"
        state = State.PREEMPTED if code < 0 else State.FAILED
        run.write_state(state, reason=f"{reason}; see {run.log}")
    return state


@contextlib.contextmanager
def _stop_children(running: dict[int, tuple[BaseProcess, Job]]) -> Iterator[None]:
    """When interrupted, let every child write its checkpoint; when interrupted again, kill them."""
    try:
        yield
    except BaseException:
        # A terminal that closes may say so twice, which must not be taken for impatience.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with contextlib.suppress(Interrupted):
            for process, _ in running.values():
                process.terminate()
            for process, _ in running.values():
                process.join()
        for process, _ in running.values():
            process.kill()
            process.join()
        raise
