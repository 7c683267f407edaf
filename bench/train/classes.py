"""The class of each pixel under an evaluation's mode, in memory that the number of classes hardly changes.

Scores of all classes at the size of an image are the largest tensor of an evaluation (922 MB for two images of 2,400 x 2,400
and 20 classes), and only the place of the highest is wanted. So scores are resized some classes at a time, and windows are
added up in a band of rows. Predictions are those of all scores at once, bit for bit.

Strips of rows would be the other way, but ``interpolate`` takes no offset: a strip's rows have their places, and so their
weights, from a product of another row number, which is rounded otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.resize import bilinear
from bench.spec.sections import Evaluation

SCORES_BYTES = 64 << 20  # of scores at the image's size that are made at a time, or those of LANES classes
# Resizing on a CPU takes channels that are stored last in vectors of so many floats; what is left of them, and fewer than
# OWN_KERNEL channels, are rounded otherwise. Blocks that begin at a multiple keep each class where it was.
LANES = 8
OWN_KERNEL = 4


def classes_of(predictor: nn.Module, image: Tensor, evaluation: Evaluation) -> Tensor:
    """Return the class with the highest score, (B, H, W) uint8, of images (B, 3, H, W) in [0, 1]; the first of equals.

    Raises:
        BenchError: if an image is larger than `padded` allows.
    """
    height, width = image.shape[2:]
    if evaluation.mode != "sliding":
        seen, size = _whole(image, evaluation)
        return _highest_resized(predictor(seen), size, (height, width))
    found = torch.empty(*_shape(image, evaluation), dtype=torch.uint8, device=image.device)
    for top, below, share in _slide(predictor, image, evaluation):
        found[:, top:below] = share.argmax(1)
    return found[:, :height, :width]


def probabilities_of(predictor: nn.Module, image: Tensor, evaluation: Evaluation) -> Tensor:
    """Return the probability of each class, (B, K, H, W) float32, of images (B, 3, H, W) in [0, 1].

    The softmax of the scores at the image's size; of a sliding window, its mean over the windows of a pixel. The highest is
    that of :func:`classes_of`, where rounding leaves no two equal.

    Raises:
        BenchError: if an image is larger than `padded` allows.
    """
    height, width = image.shape[2:]
    if evaluation.mode == "sliding":
        return torch.cat([share.clone() for _, _, share in _slide(predictor, image, evaluation)], 2)[
            ..., :height, :width
        ]
    seen, size = _whole(image, evaluation)
    return _resize(predictor(seen), size).softmax(1)[..., :height, :width]


def _whole(image: Tensor, evaluation: Evaluation) -> tuple[Tensor, tuple[int, int]]:
    """Return images as a predictor sees them whole, and the size (H, W) to which its scores are resized."""
    height, width = image.shape[2:]
    if evaluation.size is None:
        return to_multiples(image, evaluation), (height, width)
    rows, columns = evaluation.size
    if height > rows or width > columns:
        raise BenchError(f"evaluation.size: an image of {height}×{width} is larger than {rows}×{columns}")
    return _reflect(image, rows, columns), (rows, columns)


def to_multiples(image: Tensor, evaluation: Evaluation) -> Tensor:
    """Resize (B, C, H, W) so that both sides are the nearest multiples of ``multiple_of``, if that is given."""
    of = evaluation.multiple_of
    if of is None:
        return image
    rows, columns = (max((2 * side + of) // (2 * of), 1) * of for side in image.shape[2:])
    return bilinear(image, (rows, columns), align_corners=True)


def _reflect(image: Tensor, height: int, width: int) -> Tensor:
    """Extend (B, C, H, W) to the right and the bottom by reflection, as often as it takes."""
    for dim, size in ((2, height), (3, width)):
        length = image.shape[dim]
        if size > length:
            period = max(2 * (length - 1), 1)
            index = torch.arange(size, device=image.device) % period
            image = image.index_select(dim, torch.minimum(index, period - index).clamp(max=length - 1))
    return image


def _resize(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return bilinear(scores.float(), size, align_corners=True)


def _blocks(classes: int, bytes_each: int) -> Iterator[tuple[int, int]]:
    """Yield the classes that are resized together, from the first to before the last."""
    fit = SCORES_BYTES // bytes_each
    step = classes if classes <= fit else max(fit // LANES, 1) * LANES
    starts = list(range(0, classes, step))
    if len(starts) > 1 and classes - starts[-1] < OWN_KERNEL:
        starts.pop()
    return zip(starts, [*starts[1:], classes], strict=True)


def _highest_resized(scores: Tensor, size: tuple[int, int], shown: tuple[int, int]) -> Tensor:
    """Return the class of the highest of the scores (B, K, h, w), resized to `size`, in the part (H, W) that is shown."""
    last = scores.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    best: Tensor | None = None
    found: Tensor | None = None
    for first, end in _blocks(scores.shape[1], 4 * len(scores) * size[0] * size[1]):
        part = scores if end - first == scores.shape[1] else scores[:, first:end].contiguous(memory_format=layout)
        value, place = _resize(part, size)[:, :, : shown[0], : shown[1]].max(1)
        place = place.add_(first).to(torch.uint8)
        if best is None or found is None:
            best, found = value, place
            continue
        higher = (value <= best).logical_or_(best.isnan()).logical_not_()  # as argmax: the first NaN is the highest
        best, found = torch.where(higher, value, best), torch.where(higher, place, found)
    assert found is not None
    return found


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Window positions that cover `length`: every stride, the last one flush with the end."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def _covered(length: int, window: int, stride: int, device: torch.device) -> Tensor:
    """Return how many windows cover each place of a length, as floats."""
    count = torch.zeros(length, device=device)
    for start in _starts(length, window, stride):
        count[start : start + window] += 1
    return count


def _shape(image: Tensor, evaluation: Evaluation) -> tuple[int, int, int]:
    """Return the number of images and the size that windows cover."""
    assert evaluation.size is not None
    return len(image), max(image.shape[2], evaluation.size[0]), max(image.shape[3], evaluation.size[1])


def _slide(predictor: nn.Module, image: Tensor, evaluation: Evaluation) -> Iterator[tuple[int, int, Tensor]]:
    """Average probabilities over windows, row of windows by row: what lies above the next one is final.

    Yields:
        The first row, that before which it ends, and what is final there, (B, K, rows, W), until the next is asked for.
    """
    assert evaluation.size is not None and evaluation.window_stride is not None
    (rows, columns), (down, right) = evaluation.size, evaluation.window_stride
    image = _reflect(image, rows, columns)
    tall, wide = image.shape[2:]
    tops, lefts = _starts(tall, rows, down), _starts(wide, columns, right)
    above, beside = _covered(tall, rows, down, image.device), _covered(wide, columns, right, image.device)
    band: Tensor | None = None
    for top, below in itertools.pairwise([*tops, tall]):
        for left in lefts:
            window = _resize(predictor(image[:, :, top : top + rows, left : left + columns]), (rows, columns)).softmax(
                1
            )
            if band is None:
                band = window.new_zeros(len(image), window.shape[1], rows, wide)
            band[:, :, :, left : left + columns] += window
        assert band is not None
        final = below - top
        count = above[top:below, None] * beside
        yield top, below, band[:, :, :final].div_(count)
        if below < tall:
            for row in range(0, rows - final, final):  # pieces that don't overlap
                band[:, :, row : min(row + final, rows - final)] = band[:, :, row + final : row + 2 * final]
            band[:, :, rows - final :] = 0
