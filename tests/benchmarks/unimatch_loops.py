"""Whole loops of UniMatch's released scripts and ours: decoding, augmentation and steps, or the batches alone.

Each measurement is a process of its own: a loader that fills up while another side is timed would work off the clock.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from bench.machine import usable_cores
from tests.benchmarks.bench_loop import Files
from tests.benchmarks.pipelines import Pair
from tests.benchmarks.subjects import Step
from tests.benchmarks.unimatch_sides import CROP, IMAGES, Side, make_files, staged, subject, their_training
from tests.parity.checkouts import imported
from tests.parity.stand_ins import OneProcessSampler, Over

# Our two sides, and the scripts' loaders as released (a process for each of three) and with a process per core for each.
LOOPS = ("A as released", "A all cores", "B", "C")
WARM, MEASURED = 2, 5


def seconds(side: str, method: str, alone: bool) -> float:
    """Return the seconds of a step of a side's loop, from a new process; with `alone` of its batches without the step."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_unimatch", "--loop", side, method]
    done = subprocess.run([*command, *(["--alone"] if alone else [])], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def measure(side: str, method: str, alone: bool, folder: Path) -> float:
    """Return the mean seconds of a step over some steps, after some to warm up, in this process."""
    ticks = list[float]()

    def tick() -> None:
        ticks.append(time.perf_counter())
        if len(ticks) > WARM + MEASURED:
            raise Over

    pairs = make_files(folder)
    if side.startswith("A"):
        _theirs(method, 1 if side == LOOPS[0] else usable_cores(), alone, pairs, folder, tick)
    else:
        step = _ours("B" if side == "B" else "C", method, alone, pairs, folder)
        try:
            while True:
                tick()
                step()
        except Over:
            pass
    return (ticks[-1] - ticks[WARM]) / MEASURED


def _ours(side: Side, method: str, alone: bool, pairs: list[Pair], folder: Path) -> Step:
    """Return a step of ours that decodes files, each time anew: nothing is cached."""
    made = subject(side, method, folder / "ours")
    ids = made.reader.dataset.ids("train")
    made.loader.reader = Files({image_id: pairs[i % len(pairs)] for i, image_id in enumerate(ids)})
    if not alone:
        return made.loop

    def batches() -> None:  # strong views are made within the step, theirs by the loader
        for batch in next(made.batches):
            staged(batch)

    return batches


def _theirs(method: str, workers: int, alone: bool, pairs: list[Pair], folder: Path, tick: Callable[[], None]) -> None:
    """Run a released script on its own loaders, `tick` being called in front of each step, until that raises ``Over``."""
    labelled, unlabelled = _their_loaders(workers, pairs, folder)
    if not alone:
        their_training(method, tick, (labelled, unlabelled))
        return
    try:
        for _ in _drawn(labelled, unlabelled):
            tick()
    except Over:
        pass


def _drawn(labelled: Any, unlabelled: Any) -> Iterator[Any]:
    """Draw batches as their scripts do."""
    return zip(labelled, unlabelled, unlabelled, strict=False)


def _their_loaders(workers: int, pairs: list[Pair], folder: Path) -> tuple[Any, Any]:
    """Return their datasets in the loaders that their scripts make, over enough images for one long epoch."""
    listed = folder / "images.txt"
    lines = [f"{image} {mask}" for image, mask in pairs]
    listed.write_text("\n".join(lines * (2 * IMAGES * (WARM + MEASURED))))
    loaders = []
    with imported("unimatch", "dataset.semi") as (data,):
        for mode in ("train_l", "train_u"):
            dataset = data.SemiDataset("pascal", "/", mode, CROP, str(listed))
            sampler = OneProcessSampler(dataset)
            # Without pinned memory, which is for a GPU.
            loaders.append(DataLoader(dataset, IMAGES, sampler=sampler, num_workers=workers, drop_last=True))
    torch.manual_seed(0)
    return loaders[0], loaders[1]
