"""Runs cells on this machine, each in a process of its own, a few at a time.

Processes are forked from a server that has imported torch once, so a cell starts in milliseconds; a cell that crashes, or
is killed for its memory, takes nothing else with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from bench.machine import gpus, let_threads_sleep, usable_cores
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State

PRELOAD = ["torch", "torchvision", "bench.run.worker", "bench.train.loop", "bench.train.build", "bench.train.evaluate"]


@dataclass(frozen=True)
class Event:
    """Something to show: a cell started or ended, or (`state` None) time has passed."""

    cell_id: str | None
    state: State | None
    running: tuple[str, ...]


def _enter(job: Job, gpu: int | None) -> None:
    """Run a cell in a child process, with everything printed going to the run's log."""
    run = Run(Path(job.store) / job.cell_id)
    run.path.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    run_cell(job)
    sys.stdout.flush()


def run_local(jobs: Sequence[Job], workers: int, show: Callable[[Event], None]) -> dict[str, State]:
    """Run jobs, at most `workers` at a time, and return the state of each that ended.

    Args:
        jobs: in order.
        workers: processes at a time; the machine's cores are shared among them.
        show: called about four times a second, and when a cell starts or ends.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when every running cell has written its checkpoint.
    """
    let_threads_sleep()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    devices, waiting, states = gpus(), list(reversed(jobs)), {}
    running: dict[int, tuple[BaseProcess, Job]] = {}
    threads = max(usable_cores() // workers, 1)
    with _stop_children(running):
        while waiting or running:
            for slot in sorted(set(range(workers)) - set(running)):
                if not waiting:
                    break
                job = _with_threads(waiting.pop(), threads)
                process: BaseProcess = context.Process(
                    target=_enter, args=(job, devices[slot % len(devices)] if devices else None)
                )
                process.start()
                running[slot] = (process, job)
                show(Event(job.cell_id, None, _ids(running)))
            wait([p.sentinel for p, _ in running.values()], timeout=0.25)
            for slot, (process, job) in list(running.items()):
                if process.exitcode is not None:
                    del running[slot]
                    states[job.cell_id] = _outcome(job, process.exitcode)
                    show(Event(job.cell_id, states[job.cell_id], _ids(running)))
            show(Event(None, None, _ids(running)))
    return states


def _ids(running: dict[int, tuple[BaseProcess, Job]]) -> tuple[str, ...]:
    return tuple(job.cell_id for _, job in running.values())


def _with_threads(job: Job, threads: int) -> Job:
    resources = {**job.resources, "threads": job.resources.get("threads") or threads}
    return replace(job, resources=resources)


def _outcome(job: Job, exitcode: int) -> State:
    """Return the state of a cell whose process has ended; a killed process leaves a reason in its place."""
    run = Run(Path(job.store) / job.cell_id)
    state = State(run.read_state()["state"])
    if state is not State.RUNNING:
        return state
    with run.claim() as mine:
        if not mine:
            return State.RUNNING  # another process has it
        killed = exitcode < 0
        reason = f"its process was killed by signal {-exitcode}" if killed else f"its process ended with {exitcode}"
        if exitcode == -9:
            reason += " (the kernel does this when memory runs out)"
        state = State.PREEMPTED if killed else State.FAILED
        run.write_state(state, reason=f"{reason}; see {run.log}")
    return state


@contextlib.contextmanager
def _stop_children(running: dict[int, tuple[BaseProcess, Job]]) -> Iterator[None]:
    """On Ctrl-C let every child write its checkpoint; on a second one, kill them."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(KeyboardInterrupt):
            for process, _ in running.values():
                process.terminate()
            for process, _ in running.values():
                process.join()
        for process, _ in running.values():
            process.kill()
            process.join()
        raise
