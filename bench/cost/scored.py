"""The largest batches that a cell's evaluations see, and the memory that they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.data.sizes import image_sizes
from bench.data.splits import load_split
from bench.errors import BenchError
from bench.spec.cell import Cell
from bench.spec.sections import Evaluation, Numerics
from bench.train.evaluate import batch_of, count, in_evaluation_mode
from bench.train.metrics import Tally

if TYPE_CHECKING:
    from bench.data.sizes import Size
    from datasets.base import SegmentationDataset

CPU = torch.device("cpu")
WINDOW = 512  # pixels a side of the window that is advised, or training's crop where that is larger


@dataclass(frozen=True)
class Scored:
    """A batch of an evaluation.

    Attributes:
        evaluation: the protocol.
        split: whose images.
        size: (height, width) of the images; `images` is their number.
        spare: whether weights are loaded for it beside the method's own, as for ``evaluation.also``.
    """

    evaluation: Evaluation
    split: str
    size: Size
    images: int
    spare: bool = False

    @property
    def words(self) -> str:
        """The batch in words, ``4 images of 1024×2048, whole``."""
        count = "1 image" if self.images == 1 else f"{self.images} images"
        return f"{count} of {self.size[0]}×{self.size[1]}, {self.evaluation.mode}"


def windowed(scored: Scored, cell: Cell, num_classes: int) -> Scored | None:
    """Return a batch as windows would be slid over it that training's crops fit in; None where its images are no larger."""
    crop = getattr(cell.augmentation.config, "crop_size", (WINDOW, WINDOW))
    window = max(crop[0], WINDOW), max(crop[1], WINDOW)
    if scored.size[0] <= window[0] and scored.size[1] <= window[1]:
        return None
    sliding = scored.evaluation.model_copy(update={"mode": "sliding", "size": window, "stride": None})
    return replace(scored, evaluation=sliding, images=min(scored.images, batch_of(scored.size, sliding, num_classes)))


def scored_by(cell: Cell, dataset: SegmentationDataset, store: Path) -> list[Scored]:
    """Return the largest batch of each evaluation of a cell: its own, of the images held out, and ``evaluation.also``.

    Raises:
        BenchError: if a split or an image can't be used.
    """
    own, where = cell.evaluation, dataset.config.eval_split
    asked = [(own, str(where), False)]
    asked += [(own, "holdout", False)] if own.held_out else []
    asked += [(other.of(own), str(other.split or where), True) for other in own.also]
    found = []
    for evaluation, split, spare in asked:
        size, images = _largest(_sizes(cell, dataset, split, store), evaluation, len(dataset.classes))
        found.append(Scored(evaluation, split, size, images, spare))
    return found


def _sizes(cell: Cell, dataset: SegmentationDataset, split: str, store: Path) -> list[Size]:
    """Return the sizes of a split's images; of all training images where it isn't known which are held out."""
    if split in ("train", "val", "test"):
        return list(image_sizes(dataset, split).values())
    sizes = image_sizes(dataset, "train")
    try:
        return [sizes[image_id] for image_id in load_split(store, cell.split_sha256).holdout]
    except (BenchError, KeyError):
        return list(sizes.values())


def _largest(sizes: Sequence[Size], evaluation: Evaluation, num_classes: int) -> tuple[Size, int]:
    """Return the shape of images, and how many of it, that have most pixels in a batch."""
    batches = [(size, min(batch_of(size, evaluation, num_classes), n)) for size, n in Counter(sizes).items()]
    return max(batches, key=lambda batch: batch[0][0] * batch[0][1] * batch[1])


class _Repeated(nn.Module):
    """Runs a predictor on the first view of a shape; scores of later ones are of its shape, and mean nothing."""

    def __init__(self, predictor: nn.Module) -> None:
        super().__init__()
        self.predictor = predictor
        self._known: dict[torch.Size, Tensor] = {}

    def forward(self, image: Tensor) -> Tensor:
        if image.shape not in self._known:
            found: Tensor = self.predictor(image)
            self._known[image.shape] = found.new_empty(()).expand(found.shape)
            return found
        return torch.empty_like(self._known[image.shape], memory_format=torch.contiguous_format)


def evaluate_blank(predictor: nn.Module, scored: Scored, num_classes: int, numerics: Numerics) -> None:
    """Evaluate a batch of black images with labels of class 0, windows of one shape once; it has no score."""
    spare = list(_copies(predictor)) if scored.spare else []
    image = torch.zeros(scored.images, *scored.size, 3, dtype=torch.uint8)
    label = torch.zeros(scored.images, *scored.size, dtype=torch.uint8)
    tally = Tally(num_classes, CPU)
    with in_evaluation_mode(predictor):
        found = count(_Repeated(predictor), image, label, num_classes, scored.evaluation, numerics)
        tally.add(range(scored.images), *found)
    spare.clear()


def _copies(module: nn.Module) -> Iterator[Tensor]:
    for tensor in module.state_dict().values():
        yield torch.empty_like(tensor)
