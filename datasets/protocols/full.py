"""All labels."""

from __future__ import annotations

from bench.registry import register
from datasets.base import SegmentationDataset
from datasets.split import Protocol, Split


@register("protocol", "full")
class Full(Protocol):
    """Every training image is labelled, and all are used as unlabelled too (as in ReCo's code with 0 labels)."""

    @property
    def title(self) -> str:
        """``full``."""
        return "full"

    def split(self, dataset: SegmentationDataset, seed: int) -> Split:
        """Return the training list twice; the seed has no effect."""
        ids = dataset.ids("train")
        return Split(labelled=ids, unlabelled=ids)
