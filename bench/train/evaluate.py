"""One evaluator for all methods: classes by the predictor, at the size of the mask, into a confusion matrix per image."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.arrays import UInt8
from bench.class_mean import without
from bench.errors import BenchError
from bench.phases import phase
from bench.spec.sections import Evaluation, Numerics
from bench.train.boundary import boundary_counts
from bench.train.classes import classes_of
from bench.train.host import empty_rows
from bench.train.metrics import Score, Tally, confusion_matrices, score

if TYPE_CHECKING:
    from datasets.base import SegmentationDataset

Sample = tuple[UInt8, UInt8]  # image (H, W, 3) and mask (H, W)
S = TypeVar("S", bound=tuple[UInt8, ...])  # an image, and what else belongs to it
PHASE = "evaluation"  # what meters call it
NUMERICS = Numerics()  # as they are by default
WAITING = 8  # batches' worth of samples that may wait for others of their shape
# Pixels of a batch: four whole images of Cityscapes. An image with more than half of them is evaluated alone.
BATCH_PIXELS = 4 * 1024 * 2048
WAITING_PIXELS = 2 * BATCH_PIXELS  # that may wait, likewise
BAND_BYTES = 512 << 20  # of the probabilities that are added up over a row of windows, likewise


def describe(evaluation: Evaluation, dataset: SegmentationDataset, split: str = "") -> str:
    """Name the evaluation protocol, as every row of a table does: ``whole image, 180×240, val, without background``.

    A sliding window is named with its stride, on which scores depend. `split` is that of the dataset's configuration unless
    given.
    """
    size, stride = evaluation.size, evaluation.window_stride
    how = {
        "whole": "whole image" + (f" at multiples of {evaluation.multiple_of}" if evaluation.multiple_of else ""),
        "padded": f"padded to {size[0]}×{size[1]}" if size else "",
        "sliding": f"sliding {size[0]}×{size[1]}, stride {stride[0]}×{stride[1]}" if size and stride else "",
    }[evaluation.mode]
    prepared, longer = dataset.config.size, dataset.config.long_side
    images = f"{prepared[0]}×{prepared[1]}" if prepared else f"long side {longer}" if longer else "original size"
    ignored = filter(None, [without(evaluation.ignore_classes)])
    return ", ".join([how, images, split or dataset.config.eval_split, *ignored])


def batch_of(shape: Sequence[int], evaluation: Evaluation, num_classes: int) -> int:
    """Return how many images of a shape (H, W, …) are evaluated together: fewer than asked for where they are large."""
    fit = BATCH_PIXELS // (shape[0] * shape[1])
    if evaluation.mode == "sliding" and evaluation.size is not None:
        rows, columns = evaluation.size
        fit = min(fit, BAND_BYTES // (4 * num_classes * rows * max(shape[1], columns)))
    return min(evaluation.batch_size, max(fit, 1))


def in_batches(samples: Iterable[S], evaluation: Evaluation, num_classes: int) -> Iterator[tuple[list[int], list[S]]]:
    """Bring samples of equal shape together into batches, each with its place among all samples.

    Few samples wait for others of their shape; of large ones fewer still, and batches of them are smaller.
    """
    waiting: dict[tuple[int, ...], list[tuple[int, S]]] = {}
    for place, sample in enumerate(samples):
        shape = sample[0].shape
        batch = waiting.setdefault(shape, [])
        batch.append((place, sample))
        if len(batch) == batch_of(shape, evaluation, num_classes):
            yield _apart(waiting.pop(shape))
        elif _too_many(waiting, evaluation.batch_size):
            yield _apart(waiting.pop(max(waiting, key=lambda shape: len(waiting[shape]))))
    yield from map(_apart, waiting.values())


def _too_many(waiting: Mapping[tuple[int, ...], Sized], size: int) -> bool:
    pixels = sum(shape[0] * shape[1] * len(batch) for shape, batch in waiting.items())
    return sum(map(len, waiting.values())) > WAITING * size or pixels > WAITING_PIXELS


def _apart(batch: list[tuple[int, S]]) -> tuple[list[int], list[S]]:
    return [place for place, _ in batch], [sample for _, sample in batch]


def stacked(arrays: Sequence[UInt8], device: torch.device) -> Tensor:
    """Return arrays of one shape as a batch on a device, to which they are copied while the host goes on."""
    tensor, rows = empty_rows(len(arrays), arrays[0].shape, device)
    np.stack(arrays, out=rows)
    return tensor.to(device, non_blocking=True)


def _eager() -> AbstractContextManager[Any]:
    """Run compiled modules as they are written, so that a score is the same bits whoever asks for it."""
    nothing_is_compiled = "torch._dynamo" not in sys.modules
    return nullcontext() if nothing_is_compiled else torch.compiler.set_stance("force_eager")


def _fitting(samples: Iterable[Sample], name: Callable[[int], str]) -> Iterator[Sample]:
    """Pass samples on.

    Raises:
        BenchError: at the first whose mask has another size than its image.
    """
    for place, (image, mask) in enumerate(samples):
        if image.shape[:2] != mask.shape:
            sizes = ["×".join(map(str, shape)) for shape in (image.shape[:2], mask.shape)]
            raise BenchError(
                f"{name(place)}: the mask is {sizes[1]} pixels, the image, and so the prediction, {sizes[0]} "
                "(height × width); they must be the same to be counted"
            )
        yield image, mask


@contextmanager
def as_evaluated(image: Tensor, numerics: Numerics) -> Iterator[Tensor]:
    """Give images (B, H, W, 3) uint8 as every predictor gets them, (B, 3, H, W) in [0, 1], in the precision of a run.

    Nothing that is compiled runs so, nor is anything kept for a gradient.
    """
    memory = torch.channels_last if numerics.channels_last else torch.contiguous_format
    with torch.inference_mode():
        pixels = image.permute(0, 3, 1, 2).to(torch.float32, memory_format=memory).div_(255)
        with _eager(), torch.autocast(image.device.type, torch.bfloat16, enabled=numerics.precision == "bf16"):
            yield pixels


@contextmanager
def in_evaluation_mode(predictor: nn.Module) -> Iterator[None]:
    """Put a predictor into evaluation mode for a while; each of its modules gets its own mode back.

    A teacher whose statistics are averaged stays in evaluation mode within a student that trains.
    """
    modes = {module: module.training for module in predictor.modules()}
    predictor.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@torch.inference_mode()
def count(
    predictor: nn.Module, image: Tensor, label: Tensor, num_classes: int, evaluation: Evaluation, numerics: Numerics
) -> tuple[Tensor, Tensor | None]:
    """Predict a batch and count it, per image.

    Args:
        predictor: in eval mode, see :func:`evaluate`.
        image: (B, H, W, 3) uint8.
        label: (B, H, W) uint8.
        num_classes, evaluation, numerics: see :func:`evaluate`.

    Returns:
        The confusion matrices (B, K, K) int64, and pixels near boundaries (B, 3, K) int64 where they are wanted.
    """
    with as_evaluated(image, numerics) as pixels:
        found = classes_of(predictor, pixels, evaluation)
    near = boundary_counts(found, label, num_classes) if evaluation.boundary else None
    return confusion_matrices(found, label, num_classes), near


@torch.inference_mode()
def evaluate(
    predictor: nn.Module,
    samples: Iterable[Sample],
    num_classes: int,
    evaluation: Evaluation,
    device: torch.device,
    numerics: Numerics = NUMERICS,
    ignored: Collection[int] = (),
    name: Callable[[int], str] = "image {} of the split".format,
) -> Score:
    """Score a predictor over (image, mask) samples, never compiled; its train/eval mode is restored.

    Nothing waits for the device but the score at the end, and :class:`Tally` where matrices are many and large. The matrix
    of each image comes with the score. Memory beside the predictor's own is that of a few planes of a batch's pixels.

    Args:
        predictor: image (B, 3, H, W) in [0, 1] to class scores (B, K, h, w).
        samples: image (H, W, 3) uint8 and mask (H, W) uint8, 255 = void.
        num_classes: K.
        evaluation: mode, sizes, batch size.
        device: where to compute.
        numerics: precision, and memory format of the images.
        ignored: indices of the classes that are left out of the mean.
        name: what errors call the sample at a place, from 0.

    Raises:
        BenchError: if an image doesn't fit the mode, or its mask.
    """
    tally = Tally(num_classes, device)
    with in_evaluation_mode(predictor):
        for places, batch in in_batches(_fitting(samples, name), evaluation, num_classes):
            with phase(PHASE):
                image, label = (stacked(arrays, device) for arrays in zip(*batch, strict=True))
                tally.add(places, *count(predictor, image, label, num_classes, evaluation, numerics))
    return replace(score(tally.total, ignored), images=tally.images())
