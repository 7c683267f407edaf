"""All labels."""

from __future__ import annotations

from bench.registry import register
from datasets.base import SegmentationDataset
from datasets.split import Protocol, Split, annotated


@register("protocol", "full")
class Full(Protocol):
    """Every training image with a mask is labelled, and all are unlabelled too (as in ReCo's code with 0 labels)."""

    @property
    def title(self) -> str:
        """``full``."""
        return "full"

    def split(self, dataset: SegmentationDataset, seed: int) -> Split:
        """Return the training images that have a mask, and all of them; the seed has no effect.

        Raises:
            BenchError: if none has a mask.
        """
        return Split(labelled=annotated(dataset), unlabelled=dataset.ids("train"))
