"""Runs a cell in a child process that kills itself, with SIGKILL, at a chosen point."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from bench.run.child import PRELOAD
from bench.run.worker import run_cell
from bench.store.job import Job


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after(calls: int, then: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `then` at its n-th call."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == calls:
            then()

    return tick


def _at_step(steps: int) -> None:
    from bench.train.step import Stepper

    original, tick = Stepper.take, _after(steps, _die)

    def take(self: Stepper, batches: Any) -> None:
        original(self, batches)
        tick()

    Stepper.take = take  # type: ignore[method-assign]


def _in_checkpoint_write(which: int) -> None:
    """Die when half of the n-th file that torch saves (checkpoint or best weights) has been written."""
    import torch

    original = torch.save

    def save(content: Any, file: Any) -> None:
        original(content, file)
        file.truncate(file.tell() // 2)
        file.flush()
        tick()
        file.seek(0)
        original(content, file)
        file.truncate()

    tick = _after(which, _die)
    torch.save = save  # type: ignore[assignment]


def _after_evaluation(which: int) -> None:
    from bench.train.loop import Trainer

    original, tick = Trainer._evaluate, _after(which, _die)

    def evaluate(self: Trainer) -> None:
        original(self)
        tick()

    Trainer._evaluate = evaluate  # type: ignore[method-assign]


def _before_matrices(which: int) -> None:
    """Die when the n-th file of matrices is to be written; the weights that it belongs to have been."""
    from bench.run import recorder

    original, tick = recorder.save_confusion, _after(which, _die)  # type: ignore[attr-defined]

    def save(*content: Any) -> None:
        tick()
        original(*content)

    recorder.save_confusion = save  # type: ignore[attr-defined, assignment]


def _peer_at_step(steps: int) -> None:
    """Kill another process of the cell when the n-th step of both is announced."""
    from bench.run.team import Team

    original = Team._step

    def step(self: Team) -> None:
        original(self)
        tick(self)

    count = 0

    def tick(team: Team) -> None:
        nonlocal count
        count += 1
        if count == steps:
            (peer,) = team._peers
            peer.child.send(signal.SIGKILL)

    Team._step = step  # type: ignore[method-assign]


def _signal_at_step(steps: int) -> None:
    """Ask the process to stop while it takes the n-th step, as a cluster does."""
    from bench.train.step import Stepper

    original, tick = Stepper.take, _after(steps, lambda: os.kill(os.getpid(), signal.SIGTERM))

    def take(self: Stepper, batches: Any) -> None:
        tick()
        original(self, batches)

    Stepper.take = take  # type: ignore[method-assign]


POINTS: dict[str, Callable[[int], None]] = {
    "step": _at_step,
    "write": _in_checkpoint_write,
    "evaluation": _after_evaluation,
    "matrices": _before_matrices,
    "peer": _peer_at_step,
    "signal": _signal_at_step,
}


def _child(job: Job, point: str | None, number: int) -> None:
    if point is not None:
        POINTS[point](number)
    run_cell(job)


def run_in_child(job: Job, point: str | None = None, number: int = 0) -> int | None:
    """Run a cell in a fresh process; return its exit code (-9: killed)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, "torchvision", "timm", "tests.bench.run.killing"])
    process = context.Process(target=_child, args=(job, point, number))
    process.start()
    process.join()
    return process.exitcode
