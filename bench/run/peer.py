"""Another process of a cell that several train (:mod:`bench.run.team`): it takes the steps that the first one announces."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from bench import streams
from bench.data.roots import open_dataset, roots_of
from bench.data.splits import load_split
from bench.run.child import print_to
from bench.run.signals import STOP_SIGNALS
from bench.spec.resources import Resources
from bench.store.cells import read_cell
from bench.store.failures import classify
from bench.store.job import Job
from bench.store.run import Run

if TYPE_CHECKING:
    from bench.train.metrics import Score

STEP, READY = "step", "ready"  # what the first process says, and what it hears first
LOST = 76  # exit code of a process that only lost the others


@dataclass(frozen=True)
class Place:
    """Which of a cell's processes one is.

    Attributes:
        rank, size: its number, and how many there are.
        gpu: its ``CUDA_VISIBLE_DEVICES``; None leaves it as it is.
        meeting: the file by which they find each other.
        step: steps done before.
    """

    rank: int
    size: int
    gpu: str | None
    meeting: str
    step: int


def lost_another(error: Exception) -> bool:
    """Tell whether an error is that of a process that another one has left: of a collective, or of a pipe."""
    of_collective = isinstance(error, RuntimeError) and any(name in str(error).lower() for name in ("gloo", "nccl"))
    return of_collective or isinstance(error, BrokenPipeError | ConnectionResetError)


def enter(alive: Connection, job: Job, place: Place, link: Connection) -> None:
    """Take part in a cell's training, in a process of its own; `alive` is closed by its end."""
    for number in STOP_SIGNALS:  # the first process hears them, and ends this one
        signal.signal(number, signal.SIG_IGN)
    print_to(Run(Path(job.store) / job.cell_id).log)
    if place.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpu
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(link, orders, place), name="first", daemon=True).start()
    try:
        _take_part(job, place, link, orders)
    except Exception as error:
        streams.say(traceback.format_exc())
        if lost_another(error):
            sys.exit(LOST)
        with contextlib.suppress(OSError):
            link.send(classify(error))
        sys.exit(1)


def _listen(link: Connection, orders: queue.SimpleQueue[str], place: Place) -> None:
    """Pass on what the first process says; end this one at once when that one has gone, which may have been killed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            orders.put(link.recv())
    shutil.rmtree(Path(place.meeting).parent, ignore_errors=True)
    os._exit(0)


def _never() -> Score:
    raise AssertionError("only the first process evaluates")


def _take_part(job: Job, place: Place, link: Connection, orders: queue.SimpleQueue[str]) -> None:
    from bench.train import checkpoint
    from bench.train.build import build_loader, build_reader, build_stepper
    from bench.train.group import Group
    from bench.train.loop import Calls, Trainer
    from bench.train.setup import set_up_torch

    run, resources = Run(Path(job.store) / job.cell_id), Resources(**job.resources).of_process()
    cell, group = read_cell(run), Group(place.rank, place.size)
    device = set_up_torch(resources, cell.numerics)
    dataset = open_dataset(cell.dataset, roots_of(job.data))
    split = load_split(run.path.parent, cell.split_sha256)
    stepper = build_stepper(cell, len(dataset.classes), device, resources.compile, group)
    loader = build_loader(stepper, build_reader(cell, dataset, split, resources, device), split, resources)
    if place.step:
        content = checkpoint.load(run.checkpoint)
        del content["progress"]["metrics_bytes"]
        Trainer(stepper, loader, resources, Calls(evaluate=_never)).restore(content)
    stepper.method.train()
    link.send(READY)
    group.join(Path(place.meeting), device)
    for batches in loader.steps(stepper.done):
        orders.get()
        stepper.take(batches)
    orders.get()  # for good: the first process goes on alone, and ends this one
