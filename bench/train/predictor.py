"""A trained predictor: images become masks, or probabilities, by the arithmetic with which a run is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.arrays import UInt8
from bench.errors import BenchError
from bench.spec.cell import Cell
from bench.spec.sections import Evaluation, Numerics
from bench.store.kept import why_absent
from bench.store.run import Run
from bench.train import checkpoint
from bench.train.build import build_method
from bench.train.classes import classes_of, probabilities_of
from bench.train.evaluate import as_evaluated, in_batches, stacked

State = dict[str, Tensor]


def load_weights(run: Run, which: str) -> State:
    """Return a run's `last`, `best` or `selected` weights.

    Raises:
        BenchError: if there are none, or they are damaged.
    """
    weights: State | None = checkpoint.load(run.weights(which))
    if weights is None:
        raise BenchError(why_absent(run, which))
    return weights


def with_weights(cell: Cell, num_classes: int, weights: State) -> nn.Module:
    """Return a cell's predictor with trained weights, in evaluation mode, on the CPU.

    They replace the initial ones, whose file may be elsewhere by now.
    """
    predictor = build_method(cell.from_scratch(), num_classes).predictor
    predictor.load_state_dict(weights)
    return predictor.eval()


@dataclass(frozen=True)
class Predictor:
    """A network that predicts as a run is evaluated.

    Attributes:
        network: image (B, 3, H, W) in [0, 1] to class scores (B, K, h, w); in evaluation mode, on the device.
        classes: names, in index order.
        evaluation: whole, padded or sliding, and how many images of a shape together.
        numerics: precision, and memory format of the images.
        device: where to compute.
    """

    network: nn.Module
    classes: tuple[str, ...]
    evaluation: Evaluation
    numerics: Numerics
    device: torch.device

    def masks(self, images: Iterable[UInt8]) -> Iterator[tuple[int, UInt8]]:
        """Predict images (H, W, 3) uint8, RGB, of the prepared size.

        Those of one shape go through the network together, as in an evaluation; results depend on that but for rounding.

        Yields:
            The place among the images, from 0, and the mask (H, W) uint8 of class indices; in the order of batches.

        Raises:
            BenchError: if an image doesn't fit the evaluation's mode.
        """
        samples = ((image,) for image in images)
        for places, batch in in_batches(samples, self.evaluation, len(self.classes)):
            yield from zip(places, self._classes([image for (image,) in batch]), strict=True)

    def mask(self, image: UInt8) -> UInt8:
        """Return the mask (H, W) of one image; see :meth:`masks`."""
        (found,) = self._classes([image])
        return found

    def _classes(self, images: list[UInt8]) -> list[UInt8]:
        with as_evaluated(stacked(images, self.device), self.numerics) as pixels:
            found = classes_of(self.network, pixels, self.evaluation)
        return list(found.cpu().numpy())

    def probabilities(self, image: UInt8) -> NDArray[np.float32]:
        """Return the probability of each class, (K, H, W) float32, of one image (H, W, 3) uint8.

        See :func:`bench.train.classes.probabilities_of`.

        Raises:
            BenchError: if an image doesn't fit the evaluation's mode.
        """
        with as_evaluated(stacked([image], self.device), self.numerics) as pixels:
            found: NDArray[np.float32] = probabilities_of(self.network, pixels, self.evaluation)[0].cpu().numpy()
        return found
