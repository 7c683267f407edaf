"""The three sides of ``bench_unimatch``: UniMatch's released script (A), our method on their network (B), ours (C)."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.machine import usable_cores
from bench.seeds import rng
from methods import mixing
from methods.base import Batch, Unlabelled
from tests.benchmarks.blobs import CLASSES
from tests.benchmarks.pipelines import Pair
from tests.benchmarks.subjects import Subject, plan_cells, plug_in
from tests.parity.unimatch import Given
from tests.parity.unimatch_code import Ready, build_network, normalised, run, script

Side = Literal["A", "B", "C"]
CROP, IMAGES, EVER = 161, 2, 10_000
FILES, SIZE = 8, (375, 500)
# Theirs: without gradients in evaluation mode 2 images, with gradients 4 + 2; C mixes within the batch.
RECIPES: dict[str, dict[str, Any]] = {
    "B": {"network": {"name": "unimatch_released"}},
    "C": {"network": {"name": "deeplabv3plus", "backbone": "resnet50", "classifier_convolutions": 2}},
}


def make_files(folder: Path) -> list[Pair]:
    """Write JPEGs and masks of blobs, and return them."""
    made = []
    for i in range(FILES):
        draw = rng(i, "bench", "files")
        coarse = draw.integers(0, 256, (SIZE[0] // 25, SIZE[1] // 25, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)
        mask = draw.integers(0, CLASSES, (SIZE[0] // 25, SIZE[1] // 25)).astype(np.uint8)
        made.append((folder / f"{i}.jpg", folder / f"{i}.png"))
        image.save(made[-1][0], quality=95)
        Image.fromarray(mask).resize(SIZE[::-1], Image.Resampling.NEAREST).save(made[-1][1])
    return made


def subject(side: Side, method: str, folder: Path) -> Subject:
    """Return a cell of ours as a run has it."""
    plug_in("unimatch_network")
    options = {"name": method, **({"partner": "roll"} if side == "C" else {})}
    recipe = {"augmentation": {"unimatch": {"crop_size": CROP}}, **RECIPES[side]}
    recipe["optimizer"] = {"lr": 1e-3, "nesterov": False, "weight_decay": 1e-4, "lr_every": 1}
    cells, request = plan_cells(folder, [options], "resnet50", CROP, IMAGES, "fp32", recipe)
    return Subject(cells[0], request)


def staged(batch: Batch) -> Batch:
    """Return a batch whose strong views are there already, as their loader gives them."""

    def with_views(unlabelled: Unlabelled) -> Unlabelled:
        views = []
        for view in unlabelled.strong_views:
            (image,) = view.photometric(*view.geometric(unlabelled.weak))
            views.append(Given(image))
        partner = None if unlabelled.partner is None else with_views(unlabelled.partner)
        return replace(unlabelled, strong_views=tuple(views), partner=partner)

    assert batch.unlabelled is not None
    return replace(batch, unlabelled=with_views(batch.unlabelled))


def our_step(side: Side, method: str, folder: Path) -> Callable[[], None]:
    """Return a step of ours on a batch in memory."""
    made = subject(side, method, folder)
    batch = staged(made.one_batch)

    def step() -> None:
        made.stepper.take(iter([batch]))

    return step


class Waiting:
    """Stands in for a loader, and waits before each of its batches until a step is asked for.

    Args:
        batches: makes the iterator over the batches.
    """

    sampler = Ready.sampler

    def __init__(self, batches: Callable[[], Iterator[Any]], before: Callable[[], None]) -> None:
        self.batches, self.before = batches, before

    def __len__(self) -> int:
        return EVER

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches():
            self.before()
            yield batch


class TheirSteps:
    """Steps of a released script, which runs in a thread that waits between them.

    Args:
        method: name of the script.
    """

    def __init__(self, method: str) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self.method = method
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self._done.acquire()

    def __call__(self) -> None:
        """Take a step."""
        self._go.release()
        self._done.acquire()

    def _before(self) -> None:
        self._done.release()
        self._go.acquire()

    def _run(self) -> None:
        torch.set_num_threads(usable_cores())
        their_training(self.method, self._before)


def their_training(method: str, before: Callable[[], None], loaders: tuple[Any, Any] | None = None) -> None:
    """Run a released script, `before` being called in front of each step; it ends when that raises ``Over``.

    Args:
        method: name of the script.
        before: see above.
        loaders: of labelled and of unlabelled images; without them the same batches in memory each time.
    """
    network = build_network(CLASSES)
    config = {"crop_size": CROP, "nclass": CLASSES, "batch_size": IMAGES}
    with script(method, network, config) as module:
        if loaders is None:
            ready, own = one_batch()
            labelled, unlabelled = (lambda: iter(lambda: ready, None)), (lambda: iter(lambda: copied(own), None))
        else:
            labelled, unlabelled = (functools.partial(iter, loader) for loader in loaders)
        run(module, Waiting(labelled, before), Waiting(unlabelled, lambda: None), torch.optim.SGD)


def copied(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a batch that the script may write into, as it does."""
    return tuple(value.clone() for value in batch)


def one_batch() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
    """Return labelled and unlabelled images as their loader gives them."""
    generator = torch.Generator().manual_seed(0)
    images = [normalised(torch.rand(IMAGES, 3, CROP, CROP, generator=generator)) for _ in range(4)]
    label = torch.randint(CLASSES, (IMAGES, CROP, CROP), generator=generator)
    boxes = [mixing.box_mask("unimatch", IMAGES, CROP, CROP, rng(i, "boxes"), torch.device("cpu")) for i in range(2)]
    padding = torch.zeros(IMAGES, CROP, CROP, dtype=torch.int64)
    return (images[0], label), (*images[1:], padding, *(box.long() for box in boxes))
