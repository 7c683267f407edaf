"""The input pipeline: cropped by threads a few batches ahead, finished on the device of the batch.

A thread makes one image at a time and puts it into its place in the batch, so that all threads work on the batch that is
needed next. Every draw is keyed by (data seed, purpose, step, slot), so neither threads nor resuming change what a step
sees. Masks of unlabelled images are not read, and :class:`bench.train.reader.Reader` would refuse to.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.phases import phase
from bench.seeds import derive, rng
from bench.spec.resources import Resources
from bench.spec.sections import Schedule
from bench.train.host import Rows, decoding_threads
from bench.train.reader import Images
from bench.train.sampling import sample
from methods.base import Batch, Extents, Labelled, Unlabelled

# Whose random draws are independent: labelled images, unlabelled ones, and those that the latter are mixed with.
LABELLED, UNLABELLED, PARTNER = "labelled", "unlabelled", "partner"


@dataclass(frozen=True)
class HostViews:
    """Weak views of unlabelled images on the host: uint8 (B, H, W, 3), visible labels (B, H, W), extents (B, 4)."""

    weak: Tensor
    visible_labels: Tensor | None
    extents: Extents


@dataclass(frozen=True)
class HostBatch:
    """One micro-batch on the host: uint8 images (B, H, W, 3), masks (B, H, W), weak views by pool; pinned for a GPU."""

    step: int
    micro: int
    image: Tensor
    mask: Tensor
    views: dict[str, HostViews]


class _Views:
    """Weak views in the making. They refer to nothing that refers to them: a cycle would keep pinned memory from use."""

    def __init__(self, loader: Loader, pool: str, step: int, micro: int) -> None:
        self.loader, self.pool, self.step = loader, pool, step
        self.picked = loader._pick(pool, loader.unlabelled, loader.schedule.batch.unlabelled, step, micro)
        self.weak = Rows(len(self.picked), loader.device)
        self.visible = Rows(len(self.picked), loader.device) if loader.partial else None
        self.extents = np.zeros((len(self.picked), 4), np.int64)

    def put(self, row: int, slot: int, image_id: str) -> None:
        """Make one view."""
        loader = self.loader
        image = loader.reader.image(image_id)

        def draws() -> np.random.Generator:
            return loader._rng(self.pool, "view", self.step, slot)

        self.weak.put(row, loader.augmentation.weak_view(image, draws()))
        self.extents[row] = loader.augmentation.weak_extent((image.shape[0], image.shape[1]), draws())
        if self.visible is not None:
            self.visible.put(row, loader.augmentation.weak_mask(loader.reader.mask(image_id), draws()))

    def done(self) -> HostViews:
        """Return the views, all of which have been made."""
        return HostViews(self.weak.tensor(), None if self.visible is None else self.visible.tensor(), self.extents)


class _Making:
    """A micro-batch in the making."""

    def __init__(self, loader: Loader, step: int, micro: int) -> None:
        self.loader, self.step, self.micro = loader, step, micro
        self.labelled = loader._pick(LABELLED, loader.labelled, loader.schedule.batch.labelled, step, micro)
        self.image, self.mask = (Rows(len(self.labelled), loader.device) for _ in range(2))
        self.views = {pool: _Views(loader, pool, step, micro) for pool in loader.pools}

    def tasks(self) -> list[Callable[[], None]]:
        """Return what makes one image each; to be called once each, in any order, by any threads."""
        return [
            *(partial(self._labelled, row, *pick) for row, pick in enumerate(self.labelled)),
            *(partial(v.put, row, *pick) for v in self.views.values() for row, pick in enumerate(v.picked)),
        ]

    def _labelled(self, row: int, slot: int, image_id: str) -> None:
        loader = self.loader
        image, mask = loader.reader.image(image_id), loader.reader.mask(image_id)
        view = loader.augmentation.labelled_view(image, mask, loader._rng(LABELLED, "view", self.step, slot))
        self.image.put(row, view[0])
        self.mask.put(row, view[1])

    def done(self) -> HostBatch:
        """Return the batch, whose tasks have all been done."""
        views = {pool: made.done() for pool, made in self.views.items()}
        return HostBatch(self.step, self.micro, self.image.tensor(), self.mask.tensor(), views)


@dataclass(frozen=True)
class _Ahead:
    """A micro-batch that threads are at work on."""

    making: _Making
    futures: list[Future[None]]

    def result(self) -> HostBatch:
        """Wait for the batch; raises what a task raised."""
        for future in self.futures:
            future.result()
        return self.making.done()


class Loader:
    """Makes the (micro-)batches of a run.

    Args:
        reader: images of both pools and masks of the labelled one.
        labelled: ids.
        unlabelled: ids; empty for methods that use none.
        augmentation: the registered augmentation, see ``datasets/augmentation/reco.py``.
        schedule: batch sizes (the labelled one already multiplied by the method's factor).
        seed: data seed.
        device: where batches are finished.
        resources: threads, prefetch, cache budget.
        partial: whether images are labelled in part; that part then goes with the unlabelled view as `visible_labels`.
        strong_views, partner: what the method asks for, see ``methods.base.Method``.
    """

    def __init__(
        self,
        reader: Images,
        labelled: Sequence[str],
        unlabelled: Sequence[str],
        augmentation: Any,
        schedule: Schedule,
        seed: int,
        device: torch.device,
        resources: Resources,
        partial: bool = False,
        strong_views: int = 1,
        partner: bool = False,
    ) -> None:
        self.reader = reader
        self.labelled, self.unlabelled = tuple(labelled), tuple(unlabelled)
        self.augmentation, self.schedule, self.seed, self.device = augmentation, schedule, seed, device
        self.prefetch = resources.prefetch
        self.threads = decoding_threads(device, resources.loader_threads)
        self.partial, self.strong_views = partial, strong_views
        self.pools = () if not self.unlabelled else (UNLABELLED, PARTNER) if partner else (UNLABELLED,)
        self.waited = 0.0  # seconds the loop has waited for data

    @property
    def images_per_step(self) -> int:
        """Labelled and unlabelled images per optimizer step."""
        batch = self.schedule.batch
        return batch.labelled + batch.unlabelled * len(self.pools)

    def _pick(self, pool: str, ids: tuple[str, ...], batch: int, step: int, micro: int) -> list[tuple[int, str]]:
        """Return (slot, id) of one micro-batch; slots count over the whole step."""
        picks = sample(self.schedule.sampling, len(ids), batch, step, self.seed, pool)
        share = batch // self.schedule.accumulate
        return [(slot, ids[picks[slot]]) for slot in range(micro * share, (micro + 1) * share)]

    def _rng(self, pool: str, use: str, step: int, slot: int) -> np.random.Generator:
        return rng(self.seed, pool, use, step, slot)

    def host_batch(self, step: int, micro: int) -> HostBatch:
        """Decode and crop one micro-batch in this thread."""
        making = _Making(self, step, micro)
        for task in making.tasks():
            task()
        return making.done()

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)

    def device_batch(self, host: HostBatch) -> Batch:
        """Finish a micro-batch on the device: float images in [0, 1], photometric augmentation of the labelled ones."""
        step, slots = host.step, self._slots(host.micro, len(host.image))
        image, label = self._to_device(host.image).permute(0, 3, 1, 2), self._to_device(host.mask)
        with phase("augment"):
            image, label = self.augmentation.finish(
                image, label, [self._rng(LABELLED, "photometric", step, slot) for slot in slots]
            )
        seed = derive(self.seed, "method", step, host.micro)
        labelled = Labelled(image, label, self.partial)
        return Batch(step, self.schedule.iterations, seed, labelled, self._unlabelled(host, self.pools))

    def _unlabelled(self, host: HostBatch, pools: Sequence[str]) -> Unlabelled | None:
        """Return the views of the first pool, those of the others its partner."""
        if not pools:
            return None
        pool, *others = pools
        views = host.views[pool]
        slots = self._slots(host.micro, len(views.weak))
        weak = self.augmentation.to_float(self._to_device(views.weak).permute(0, 3, 1, 2))
        uses = ["strong", *(f"strong {number}" for number in range(2, self.strong_views + 1))][: self.strong_views]
        rngs = ([self._rng(pool, use, host.step, slot) for slot in slots] for use in uses)
        strong = (self.augmentation.strong(of_slots, self.device) for of_slots in rngs)
        visible = None if views.visible_labels is None else self._to_device(views.visible_labels).long()
        return Unlabelled(weak, tuple(strong), visible, views.extents, self._unlabelled(host, others))

    @staticmethod
    def _slots(micro: int, share: int) -> range:
        return range(micro * share, (micro + 1) * share)

    def batches(self, step: int) -> Iterator[Batch]:
        """Yield the micro-batches of one step, made in this thread."""
        return (self.device_batch(self.host_batch(step, micro)) for micro in range(self.schedule.accumulate))

    def steps(self, start: int) -> Iterator[Iterator[Batch]]:
        """Yield, for each step from `start`, an iterator over its micro-batches; host work runs ahead on threads."""
        accumulate, total = self.schedule.accumulate, self.schedule.iterations
        todo = ((step, micro) for step in range(start, total) for micro in range(accumulate))
        with ThreadPoolExecutor(self.threads, thread_name_prefix="loader") as pool:
            ahead: deque[_Ahead] = deque()
            try:
                for _ in range(self.prefetch):
                    self._submit(pool, ahead, todo)
                for _ in range(start, total):
                    yield (self._next(pool, ahead, todo) for _ in range(accumulate))
            finally:
                for batch in ahead:
                    for future in batch.futures:
                        future.cancel()

    def _submit(self, pool: ThreadPoolExecutor, ahead: deque[_Ahead], todo: Iterator[tuple[int, int]]) -> None:
        item = next(todo, None)
        if item is not None:
            making = _Making(self, *item)
            ahead.append(_Ahead(making, [pool.submit(task) for task in making.tasks()]))

    def _next(self, pool: ThreadPoolExecutor, ahead: deque[_Ahead], todo: Iterator[tuple[int, int]]) -> Batch:
        begin = time.perf_counter()
        host = ahead.popleft().result()
        self.waited += time.perf_counter() - begin
        self._submit(pool, ahead, todo)
        return self.device_batch(host)
