"""A plug-in dataset for benchmarks: 40 images of 240×320 with 21 classes in blobs, made in memory."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from bench.arrays import UInt8
from bench.registry import register
from bench.seeds import rng
from datasets.base import CheckReport, DatasetConfig, Progress, SegmentationDataset, SplitName

CLASSES = 21
COUNTS = {"train": 40, "val": 4, "test": 0}
CELL = 20  # pixels on a side of a blob


@register("dataset", "blobs")
class Blobs(SegmentationDataset):
    """Squares of random classes, each with its colour and some noise."""

    Config = DatasetConfig
    needs_root = False

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(f"class{i}" for i in range(CLASSES))

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        return [(12 * i, 255 - 12 * i, 97 * i % 256) for i in range(CLASSES)]

    def ids(self, split: SplitName) -> tuple[str, ...]:
        return tuple(f"{split}{i:02d}" for i in range(COUNTS[split]))

    def image(self, image_id: str) -> UInt8:
        colour = np.array(self.palette, np.int64)[self.mask(image_id)]
        noise = rng(8, image_id).integers(-20, 21, colour.shape)
        image: UInt8 = np.clip(colour + noise, 0, 255).astype(np.uint8)
        return image

    def mask(self, image_id: str) -> UInt8:
        coarse = rng(7, image_id).integers(0, CLASSES, (240 // CELL, 320 // CELL)).astype(np.uint8)
        mask: UInt8 = coarse.repeat(CELL, 0).repeat(CELL, 1)
        return mask

    @cached_property
    def presence(self) -> dict[str, frozenset[int]]:
        return {i: frozenset(np.unique(self.mask(i)).tolist()) for i in self.ids("train")}

    @classmethod
    def prepare(cls, config: DatasetConfig, root: Path, source: Path | None, progress: Progress | None = None) -> None:
        """Nothing to do."""

    def check(self, progress: Progress | None = None) -> CheckReport:
        return CheckReport("blobs", str(self.root), dict(COUNTS))
