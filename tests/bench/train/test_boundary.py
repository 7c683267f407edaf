"""Boundary regions against the erosion of each class's mask, as the authors of Boundary IoU compute them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from bench.report.metrics import METRICS, Margins
from bench.spec.sections import Evaluation
from bench.train.boundary import boundary_counts, near_boundary, width
from bench.train.evaluate import evaluate
from tests.bench.train.test_evaluate import CPU, Brightness

K = 4
Masks = NDArray[np.int64]


def drawn(shape: tuple[int, int, int], seed: int = 0) -> tuple[Masks, Masks]:
    """Return predictions and labels of blobs, with void, one image of one class and one of void alone."""
    draw = np.random.default_rng(seed)
    blocks = np.kron(draw.integers(0, K, (shape[0], 3, 3)), np.ones((1, 1 + shape[1] // 3, 1 + shape[2] // 3), int))
    label = blocks[:, : shape[1], : shape[2]].copy()
    prediction = np.roll(label, (2, -3), (1, 2))
    label[:, 5:9, 4:20] = 255
    label[1], prediction[1], label[2] = 2, 2, 255
    return prediction, label


def eroded(mask: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    return binary_erosion(mask, np.ones((3, 3), bool), iterations=distance, border_value=0)


@pytest.mark.parametrize("distance", [1, 2, 7, 40])
def test_it_is_a_mask_without_its_erosion(distance: int) -> None:
    classes, _ = drawn((5, 33, 47))
    found = near_boundary(torch.from_numpy(classes), distance).numpy()
    for image, near in zip(classes, found, strict=True):
        for c in range(K):
            assert np.array_equal(near & (image == c), (image == c) & ~eroded(image == c, distance))


@pytest.mark.parametrize("shape", [(5, 33, 47), (5, 120, 90)])
def test_counts_are_those_of_the_authors_masks(shape: tuple[int, int, int]) -> None:
    prediction, label = drawn(shape)
    distance = width(*shape[1:])
    expected = np.zeros((5, 3, K), int)
    for i, c in np.ndindex(5, K):
        masks = [label[i] == c, (prediction[i] == c) & (label[i] != 255)]
        truth, found = (mask & ~eroded(mask, distance) for mask in masks)
        expected[i, :, c] = (truth & found).sum(), truth.sum(), found.sum()
    counts = boundary_counts(torch.from_numpy(prediction), torch.from_numpy(label).to(torch.uint8), K)
    assert np.array_equal(counts.numpy(), expected)
    assert not expected[2].any()


def test_the_width_is_the_papers() -> None:
    assert [width(375, 500), width(1024, 2048), width(4, 4)] == [12, 46, 1]  # 2 % of 625, 2289.7, 5.7


def test_an_evaluation_counts_in_the_order_of_its_samples_and_a_right_prediction_has_100() -> None:
    draw = np.random.default_rng(1)
    images = [np.kron(draw.integers(0, 2, (3, 3)), np.ones((h, 9))).astype(np.uint8) for h in (8, 9, 8, 8)]
    samples = [(np.repeat(255 * image[..., None], 3, 2).astype(np.uint8), image) for image in images]
    samples[2][1][0] = 255
    found = evaluate(Brightness(), samples, 2, Evaluation(boundary=True, batch_size=2), CPU).images
    assert found is not None
    assert found.near is not None
    for (image, mask), near in zip(samples, found.near, strict=True):
        bright = torch.from_numpy(image[None, ..., 0] > 127).long()
        assert np.array_equal(near, boundary_counts(bright, torch.from_numpy(mask)[None], 2)[0].numpy())
    assert METRICS["boundary-iou"].value(Margins.of(found)) == 100
    assert evaluate(Brightness(), samples, 2, Evaluation(), CPU).images.near is None  # type: ignore[union-attr]
