"""The input pipeline: cropped by threads a few batches ahead, finished on the device of the batch.

Every draw is keyed by (data seed, purpose, step, slot), so neither threads nor resuming change what a step sees. Masks of
unlabelled images are not read, and :class:`bench.train.reader.Reader` would refuse to.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.arrays import UInt8
from bench.machine import usable_cores
from bench.phases import phase
from bench.seeds import derive, rng
from bench.spec.sections import Resources, Schedule
from bench.train.reader import Images
from bench.train.sampling import sample
from methods.base import Batch, Labelled, Unlabelled


@dataclass(frozen=True)
class HostBatch:
    """One micro-batch on the host: uint8 images (B, H, W, 3), masks and visible labels (B, H, W)."""

    step: int
    micro: int
    image: UInt8
    mask: UInt8
    weak: UInt8 | None
    visible_labels: UInt8 | None = None


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
    ) -> None:
        self.reader = reader
        self.labelled, self.unlabelled = tuple(labelled), tuple(unlabelled)
        self.augmentation, self.schedule, self.seed, self.device = augmentation, schedule, seed, device
        self.prefetch = resources.prefetch
        # A CPU that trains has no cores to spare for more; beside a GPU, each batch made ahead may have one.
        spare = usable_cores() - 1 if device.type == "cuda" else 2
        self.threads = resources.loader_threads or max(min(self.prefetch, spare), 2)
        self.partial = partial
        self.waited = 0.0  # seconds the loop has waited for data

    @property
    def images_per_step(self) -> int:
        """Labelled and unlabelled images per optimizer step."""
        batch = self.schedule.batch
        return batch.labelled + (batch.unlabelled if self.unlabelled else 0)

    def _pick(self, pool: str, ids: tuple[str, ...], batch: int, step: int, micro: int) -> list[tuple[int, str]]:
        """Return (slot, id) of one micro-batch; slots count over the whole step."""
        picks = sample(self.schedule.sampling, len(ids), batch, step, self.seed, pool)
        share = batch // self.schedule.accumulate
        return [(slot, ids[picks[slot]]) for slot in range(micro * share, (micro + 1) * share)]

    def _rng(self, pool: str, use: str, step: int, slot: int) -> np.random.Generator:
        return rng(self.seed, pool, use, step, slot)

    def host_batch(self, step: int, micro: int) -> HostBatch:
        """Decode and crop one micro-batch (on a loader thread)."""
        batch, views, weak, visible = self.schedule.batch, [], [], []
        for slot, image_id in self._pick("labelled", self.labelled, batch.labelled, step, micro):
            image = self.reader.image(image_id)
            mask = self.reader.mask(image_id)
            views.append(self.augmentation.labelled_view(image, mask, self._rng("labelled", "view", step, slot)))
        if self.unlabelled:
            for slot, image_id in self._pick("unlabelled", self.unlabelled, batch.unlabelled, step, micro):
                image = self.reader.image(image_id)
                weak.append(self.augmentation.weak_view(image, self._rng("unlabelled", "view", step, slot)))
                if self.partial:
                    mask = self.reader.mask(image_id)
                    visible.append(self.augmentation.weak_mask(mask, self._rng("unlabelled", "view", step, slot)))
        return HostBatch(
            step,
            micro,
            np.stack([v[0] for v in views]),
            np.stack([v[1] for v in views]),
            np.stack(weak) if weak else None,
            np.stack(visible) if visible else None,
        )

    def _to_device(self, array: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def device_batch(self, host: HostBatch) -> Batch:
        """Finish a micro-batch on the device: float images in [0, 1], photometric augmentation of the labelled ones."""
        step, share = host.step, len(host.image)
        slots = range(host.micro * share, (host.micro + 1) * share)
        image, label = self._to_device(host.image).permute(0, 3, 1, 2), self._to_device(host.mask)
        with phase("augment"):
            image, label = self.augmentation.finish(
                image, label, [self._rng("labelled", "photometric", step, slot) for slot in slots]
            )
        unlabelled = None
        if host.weak is not None:
            share = len(host.weak)
            slots = range(host.micro * share, (host.micro + 1) * share)
            rngs = [self._rng("unlabelled", "strong", step, slot) for slot in slots]
            weak = self.augmentation.to_float(self._to_device(host.weak).permute(0, 3, 1, 2))
            visible = None if host.visible_labels is None else self._to_device(host.visible_labels).long()
            unlabelled = Unlabelled(weak, self.augmentation.strong(rngs, self.device), visible)
        seed = derive(self.seed, "method", step, host.micro)
        return Batch(step, self.schedule.iterations, seed, Labelled(image, label, self.partial), unlabelled)

    def batches(self, step: int) -> Iterator[Batch]:
        """Yield the micro-batches of one step, made in this thread."""
        return (self.device_batch(self.host_batch(step, micro)) for micro in range(self.schedule.accumulate))

    def steps(self, start: int) -> Iterator[Iterator[Batch]]:
        """Yield, for each step from `start`, an iterator over its micro-batches; host work runs ahead on threads."""
        accumulate, total = self.schedule.accumulate, self.schedule.iterations
        todo = ((step, micro) for step in range(start, total) for micro in range(accumulate))
        with ThreadPoolExecutor(self.threads, thread_name_prefix="loader") as pool:
            ahead: deque[Future[HostBatch]] = deque()
            try:
                for _ in range(self.prefetch):
                    self._submit(pool, ahead, todo)
                for _ in range(start, total):
                    yield (self._next(pool, ahead, todo) for _ in range(accumulate))
            finally:
                for future in ahead:
                    future.cancel()

    def _submit(
        self, pool: ThreadPoolExecutor, ahead: deque[Future[HostBatch]], todo: Iterator[tuple[int, int]]
    ) -> None:
        item = next(todo, None)
        if item is not None:
            ahead.append(pool.submit(self.host_batch, *item))

    def _next(
        self, pool: ThreadPoolExecutor, ahead: deque[Future[HostBatch]], todo: Iterator[tuple[int, int]]
    ) -> Batch:
        begin = time.perf_counter()
        host = ahead.popleft().result()
        self.waited += time.perf_counter() - begin
        self._submit(pool, ahead, todo)
        return self.device_batch(host)
