"""Predicted classes in bounded memory against the highest of all scores at once, bit for bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.spec.sections import Evaluation, OtherEvaluation
from bench.train import classes
from bench.train.classes import _reflect, _starts, classes_of
from bench.train.tensor_bytes import TensorBytes

LAYOUTS = ("first", "last", "strided")


class Fixed(nn.Module):
    """Gives the scores that it was made with, whatever it is shown."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, image: Tensor) -> Tensor:
        return self.scores


class Mixed(nn.Module):
    """Scores of half the resolution that depend on the place within the view."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, classes, 3, stride=2, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.convolution(image)
        return found


def scores_of(predictor: nn.Module, image: Tensor, evaluation: Evaluation) -> Tensor:
    """Return all scores (B, K, H, W), as the evaluator made them before it bounded its memory."""
    height, width = image.shape[2:]

    def resized(view: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(predictor(view).float(), size=size, mode="bilinear", align_corners=True)

    if evaluation.size is None:
        return resized(image, (height, width))
    rows, columns = evaluation.size
    image = _reflect(image, rows, columns)
    if evaluation.mode == "padded":
        return resized(image, (rows, columns))[:, :, :height, :width]
    assert evaluation.window_stride is not None
    down, right = evaluation.window_stride
    total, count = torch.zeros(()), torch.zeros(image.shape[2:])
    for top, left in itertools.product(_starts(image.shape[2], rows, down), _starts(image.shape[3], columns, right)):
        found = resized(image[:, :, top : top + rows, left : left + columns], (rows, columns)).softmax(1)
        total = total if total.dim() else found.new_zeros(len(image), found.shape[1], *image.shape[2:])
        total[:, :, top : top + rows, left : left + columns] += found
        count[top : top + rows, left : left + columns] += 1
    return (total / count)[:, :, :height, :width]


def _stored(scores: Tensor, layout: str) -> Tensor:
    if layout == "last":
        return scores.contiguous(memory_format=torch.channels_last)
    return scores.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2) if layout == "strided" else scores


@pytest.mark.parametrize("limit", [1, 300_000])
def test_classes_are_those_of_all_scores_at_once(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Random shapes, odd ones among them, with ties, infinities and NaN."""
    monkeypatch.setattr(classes, "SCORES_BYTES", limit)
    draw = np.random.default_rng(limit)
    for trial, layout in itertools.product(range(60), LAYOUTS):
        batch, count, h, w, height, width = (int(draw.integers(1, high)) for high in (3, 45, 40, 40, 200, 200))
        scores = torch.from_numpy(draw.normal(0, 3, (batch, count, h, w)).astype(np.float32))
        scores = (2 * scores).round() / 2 if trial % 3 == 0 else scores
        for value in (torch.nan, torch.inf) if trial % 4 == 0 else ():
            scores[torch.from_numpy(draw.random(scores.shape) < 0.01)] = value
        predictor, image = Fixed(_stored(scores, layout)), torch.zeros(batch, 3, height, width)
        expected = scores_of(predictor, image, Evaluation()).argmax(1)
        assert torch.equal(classes_of(predictor, image, Evaluation()).long(), expected), (
            layout,
            scores.shape,
            image.shape,
        )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("count", [2, 19])
def test_every_mode_agrees_with_all_scores_at_once(
    monkeypatch: pytest.MonkeyPatch, layout: torch.memory_format, count: int
) -> None:
    monkeypatch.setattr(classes, "SCORES_BYTES", 1)
    torch.manual_seed(count)
    predictor, draw = Mixed(count).to(memory_format=layout), np.random.default_rng(count)
    with torch.inference_mode():
        for _ in range(12):
            height, width, rows, columns, down, right = (int(draw.integers(9, 90)) for _ in range(6))
            image = torch.rand(2, 3, height, width).contiguous(memory_format=layout)
            stride = (min(down, rows), min(right, columns))
            for evaluation in (
                Evaluation(mode="padded", size=(max(height, rows), max(width, columns))),
                Evaluation(mode="sliding", size=(rows, columns), stride=stride),
                Evaluation(mode="sliding", size=(rows, columns)),
            ):
                expected = scores_of(predictor, image, evaluation).argmax(1)
                assert torch.equal(classes_of(predictor, image, evaluation).long(), expected), evaluation


@pytest.mark.parametrize("evaluation", [Evaluation(), Evaluation(mode="sliding", size=(64, 64))])
def test_memory_hardly_grows_with_classes_or_height(monkeypatch: pytest.MonkeyPatch, evaluation: Evaluation) -> None:
    """Counted operator by operator; all scores of 150 classes at 600 x 400 would be 144 MB."""
    monkeypatch.setattr(classes, "SCORES_BYTES", 1)
    plane, predictor = 600 * 400 * 4, Fixed(torch.zeros(1, 150, 8, 8).contiguous(memory_format=torch.channels_last))
    with TensorBytes() as alive:
        classes_of(predictor, torch.zeros(1, 3, 600, 400), evaluation)
    assert alive.peak < (20 * plane if evaluation.size is None else 150 * 4 * 400 * 64 * 2)


class Seen(nn.Module):
    """Notes what it is shown; the score of class k is the k-th channel of that."""

    def forward(self, image: Tensor) -> Tensor:
        self.image = image
        return image


@pytest.mark.parametrize(("size", "resized"), [((30, 41), (28, 42)), ((28, 14), (28, 14)), ((5, 7), (14, 14))])
def test_images_are_resized_to_the_nearest_multiples_and_scores_back(
    size: tuple[int, int], resized: tuple[int, int]
) -> None:
    image, predictor = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)), Seen()
    found = classes_of(predictor, image, Evaluation(multiple_of=14))
    expected = F.interpolate(image, resized, mode="bilinear", align_corners=True)
    torch.testing.assert_close(predictor.image, expected)
    scores = F.interpolate(expected, size, mode="bilinear", align_corners=True)
    assert (found == scores.argmax(1)).float().mean() > 0.999
    assert torch.equal(classes_of(predictor, image, Evaluation()), image.argmax(1).byte())


def test_multiples_are_for_whole_images() -> None:
    with pytest.raises(ValueError, match="multiple_of is for mode 'whole'"):
        Evaluation(mode="padded", size=(28, 28), multiple_of=14)
    own = Evaluation(multiple_of=14)
    assert OtherEvaluation(split="test").of(own).multiple_of == 14
    assert OtherEvaluation(mode="sliding", size=(28, 28)).of(own).multiple_of is None
