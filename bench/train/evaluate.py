"""One evaluator for all methods: scores of the predictor, resized to the mask, into a confusion matrix per image."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.arrays import UInt8
from bench.errors import BenchError
from bench.resize import bilinear
from bench.spec.sections import Evaluation, Numerics
from bench.train.boundary import boundary_counts
from bench.train.host import empty_rows
from bench.train.metrics import Score, Tally, confusion_matrices, score

if TYPE_CHECKING:
    from datasets.base import SegmentationDataset

Sample = tuple[UInt8, UInt8]  # image (H, W, 3) and mask (H, W)
NUMERICS = Numerics()  # as they are by default
WAITING = 8  # batches' worth of samples that may wait for others of their shape


def describe(evaluation: Evaluation, dataset: SegmentationDataset, split: str = "") -> str:
    """Name the evaluation protocol, as every row of a table does: ``whole image, 180×240, val``.

    A sliding window is named with its stride, on which scores depend. `split` is that of the dataset's configuration unless
    given.
    """
    size, stride = evaluation.size, evaluation.window_stride
    how = {
        "whole": "whole image",
        "padded": f"padded to {size[0]}×{size[1]}" if size else "",
        "sliding": f"sliding {size[0]}×{size[1]}, stride {stride[0]}×{stride[1]}" if size and stride else "",
    }[evaluation.mode]
    prepared = dataset.config.size
    return f"{how}, {f'{prepared[0]}×{prepared[1]}' if prepared else 'original size'}, {split or dataset.config.eval_split}"


def _reflect(image: Tensor, height: int, width: int) -> Tensor:
    """Extend (B, C, H, W) to the right and the bottom by reflection, as often as it takes."""
    for dim, size in ((2, height), (3, width)):
        length = image.shape[dim]
        if size > length:
            period = max(2 * (length - 1), 1)
            index = torch.arange(size, device=image.device) % period
            image = image.index_select(dim, torch.minimum(index, period - index).clamp(max=length - 1))
    return image


def _resize(scores: Tensor, height: int, width: int) -> Tensor:
    return bilinear(scores.float(), (height, width), align_corners=True)


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Window positions that cover `length`: every stride, the last one flush with the end."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def scores_of(predictor: nn.Module, image: Tensor, evaluation: Evaluation) -> Tensor:
    """Return class scores (B, K, H, W) of images (B, 3, H, W) in [0, 1] under the evaluation's mode.

    Raises:
        BenchError: if an image is larger than `padded` allows.
    """
    height, width = image.shape[2:]
    if evaluation.size is None:
        return _resize(predictor(image), height, width)
    rows, columns = evaluation.size
    if evaluation.mode == "padded":
        if height > rows or width > columns:
            raise BenchError(f"evaluation.size: an image of {height}×{width} is larger than {rows}×{columns}")
        return _resize(predictor(_reflect(image, rows, columns)), rows, columns)[:, :, :height, :width]
    return _slide(predictor, image, evaluation)


def _slide(predictor: nn.Module, image: Tensor, evaluation: Evaluation) -> Tensor:
    assert evaluation.size is not None
    rows, columns = evaluation.size
    assert evaluation.window_stride is not None
    down, right = evaluation.window_stride
    height, width = image.shape[2:]
    image = _reflect(image, rows, columns)
    total: Tensor | None = None
    count = torch.zeros(image.shape[2:], device=image.device)
    for top, left in itertools.product(_starts(image.shape[2], rows, down), _starts(image.shape[3], columns, right)):
        view = image[:, :, top : top + rows, left : left + columns]
        probability = _resize(predictor(view), rows, columns).softmax(1)
        if total is None:
            total = probability.new_zeros(len(image), probability.shape[1], *image.shape[2:])
        total[:, :, top : top + rows, left : left + columns] += probability
        count[top : top + rows, left : left + columns] += 1
    assert total is not None
    return (total / count)[:, :, :height, :width]


def _batches(samples: Iterable[Sample], size: int) -> Iterator[tuple[list[int], list[Sample]]]:
    """Bring samples of equal shape together into batches of at most `size`, each with its place among all samples.

    Few samples wait for others of their shape.
    """
    waiting: dict[tuple[int, ...], list[tuple[int, Sample]]] = {}
    for place, sample in enumerate(samples):
        batch = waiting.setdefault(sample[0].shape, [])
        batch.append((place, sample))
        if len(batch) == size:
            yield _apart(waiting.pop(sample[0].shape))
        elif sum(map(len, waiting.values())) > WAITING * size:
            yield _apart(waiting.pop(max(waiting, key=lambda shape: len(waiting[shape]))))
    yield from map(_apart, waiting.values())


def _apart(batch: list[tuple[int, Sample]]) -> tuple[list[int], list[Sample]]:
    return [place for place, _ in batch], [sample for _, sample in batch]


def _stacked(arrays: Sequence[UInt8], device: torch.device) -> Tensor:
    """Return arrays of one shape as a batch on a device, to which they are copied while the host goes on."""
    tensor, rows = empty_rows(len(arrays), arrays[0].shape, device)
    np.stack(arrays, out=rows)
    return tensor.to(device, non_blocking=True)


def _eager() -> AbstractContextManager[Any]:
    """Run compiled modules as they are written, so that a score is the same bits whoever asks for it."""
    nothing_is_compiled = "torch._dynamo" not in sys.modules
    return nullcontext() if nothing_is_compiled else torch.compiler.set_stance("force_eager")


@torch.inference_mode()
def evaluate(
    predictor: nn.Module,
    samples: Iterable[Sample],
    num_classes: int,
    evaluation: Evaluation,
    device: torch.device,
    numerics: Numerics = NUMERICS,
) -> Score:
    """Score a predictor over (image, mask) samples, never compiled; its train/eval mode is restored.

    Nothing waits for the device but the score at the end, and :class:`Tally` where matrices are many and large. The matrix
    of each image comes with the score.

    Args:
        predictor: image (B, 3, H, W) in [0, 1] to class scores (B, K, h, w).
        samples: image (H, W, 3) uint8 and mask (H, W) uint8, 255 = void.
        num_classes: K.
        evaluation: mode, sizes, batch size.
        device: where to compute.
        numerics: precision, and memory format of the images.
    """
    was_training = predictor.training
    predictor.eval()
    tally = Tally(num_classes, device)
    memory = torch.channels_last if numerics.channels_last else torch.contiguous_format
    try:
        for places, batch in _batches(samples, evaluation.batch_size):
            image, label = (_stacked(arrays, device) for arrays in zip(*batch, strict=True))
            image = image.permute(0, 3, 1, 2)
            image = image.to(torch.float32, memory_format=memory) / 255
            with _eager(), torch.autocast(device.type, torch.bfloat16, enabled=numerics.precision == "bf16"):
                scores = scores_of(predictor, image, evaluation)
            found = scores.argmax(1)
            near = boundary_counts(found, label, num_classes) if evaluation.boundary else None
            tally.add(places, confusion_matrices(found, label, num_classes), near)
    finally:
        predictor.train(was_training)
    return replace(score(tally.total), images=tally.images())
