"""A plug-in dataset for tests: 24 small images made in memory, in no time.

Each image is a noisy background (class 0) with one bright square (class 1) or one dark one (class 2); its border is void.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.arrays import UInt8
from bench.registry import register
from bench.seeds import rng
from datasets.base import CheckReport, DatasetConfig, Progress, SegmentationDataset, SplitName

SIZE = 40
COUNTS = {"train": 24, "val": 6, "test": 2}


@register("dataset", "toy")
class Toy(SegmentationDataset):
    """Squares on noise."""

    Config = DatasetConfig
    needs_root = False

    @property
    def classes(self) -> tuple[str, ...]:
        return ("ground", "bright", "dark")

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        return [(0, 0, 0), (255, 255, 0), (0, 0, 255)]

    def ids(self, split: SplitName) -> tuple[str, ...]:
        return tuple(f"{split}{i:02d}" for i in range(COUNTS[split]))

    def _sized(self, array: UInt8) -> UInt8:
        """The nearest pixels at the prepared size."""
        height, width = self.config.prepared_size(SIZE, SIZE)
        found: UInt8 = array[np.arange(height) * SIZE // height][:, np.arange(width) * SIZE // width]
        return found

    def _corner(self, image_id: str) -> tuple[int, int, int]:
        draw = rng(7, image_id)
        return int(draw.integers(2, 20)), int(draw.integers(2, 20)), int(draw.integers(1, 3))

    def image(self, image_id: str) -> UInt8:
        top, left, kind = self._corner(image_id)
        image = rng(8, image_id).integers(90, 150, (SIZE, SIZE, 3)).astype(np.uint8)
        image[top : top + 16, left : left + 16] = 220 if kind == 1 else 20
        return self._sized(image)

    def mask(self, image_id: str) -> UInt8:
        top, left, kind = self._corner(image_id)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[top : top + 16, left : left + 16] = kind
        mask[[0, -1]] = 255
        return self._sized(mask)

    @classmethod
    def prepare(cls, config: DatasetConfig, root: Path, source: Path | None, progress: Progress | None = None) -> None:
        """Nothing to do."""

    def check(self, progress: Progress | None = None) -> CheckReport:
        return CheckReport("toy", str(self.root), dict(COUNTS))
