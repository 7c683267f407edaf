"""Each metric against torchmetrics or against the pixels themselves, never against another function of the same file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics import Metric
from torchmetrics import classification as tm

from bench.errors import BenchError
from bench.report.metrics import METRICS, Margins, Percent, metric
from bench.store.confusion import ImageCounts
from bench.train.metrics import confusion_matrices, score

K, SHAPE = 5, (9, 24, 30)
Masks = NDArray[np.int64]


@pytest.fixture(scope="module")
def drawn() -> tuple[Masks, Masks]:
    """Predictions and labels of nine images: blocks with noise, void, an image of void alone, class 4 in few images."""
    draw = np.random.default_rng(3)
    label = np.kron(draw.integers(0, K - 1, (9, 4, 5)), np.ones((6, 6), np.int64))
    label[2, :3, :4], label[5, :6, :9], label[7, 0, 0] = 4, 4, 4
    prediction = np.where(draw.random(SHAPE) < 0.3, draw.integers(0, K, SHAPE), label)
    label[draw.random(SHAPE) < 0.1] = 255
    label[6] = 255
    return prediction, label


@pytest.fixture(scope="module")
def margins(drawn: tuple[Masks, Masks]) -> Margins:
    matrices = confusion_matrices(torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1]), K)
    return Margins.of(ImageCounts.of(matrices.numpy()))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("miou", tm.MulticlassJaccardIndex(K, average="none", ignore_index=255)),
        ("macc", tm.MulticlassAccuracy(K, average="none", ignore_index=255)),
        ("recall", tm.MulticlassRecall(K, average="none", ignore_index=255)),
        ("precision", tm.MulticlassPrecision(K, average="none", ignore_index=255)),
        ("dice", tm.MulticlassF1Score(K, average="none", ignore_index=255)),
        ("f1", tm.MulticlassF1Score(K, average="none", ignore_index=255)),
        ("accuracy", tm.MulticlassAccuracy(K, average="micro", ignore_index=255)),
        ("fwiou", tm.MulticlassJaccardIndex(K, average="weighted", ignore_index=255)),
        ("kappa", tm.MulticlassCohenKappa(K, ignore_index=255)),
    ],
)
def test_it_is_torchmetrics(drawn: tuple[Masks, Masks], margins: Margins, name: str, theirs: Metric) -> None:
    expected = 100 * theirs(*map(torch.from_numpy, drawn)).double().numpy()
    found = METRICS[name]
    assert found.value(margins) == pytest.approx(expected.mean(), abs=1e-4)
    if found.classes is not None:
        assert found.classes(margins) == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("ignored", [{0}, {1, 3}, {4}])
def test_ignored_classes_are_out_of_every_mean_and_stay_per_class(
    drawn: tuple[Masks, Masks], margins: Margins, ignored: set[int]
) -> None:
    """Torchmetrics per class, and the mean over those that are kept; pixels of ignored classes count against the others."""
    pixels = [torch.from_numpy(mask) for mask in drawn]
    kept, rest = [c for c in range(K) if c not in ignored], replace(margins, ignored=frozenset(ignored))
    weight = np.array([(drawn[1] == c).sum() for c in kept])
    for name, theirs in (
        ("miou", tm.MulticlassJaccardIndex(K, average="none", ignore_index=255)),
        ("macc", tm.MulticlassAccuracy(K, average="none", ignore_index=255)),
        ("precision", tm.MulticlassPrecision(K, average="none", ignore_index=255)),
        ("dice", tm.MulticlassF1Score(K, average="none", ignore_index=255)),
        ("fwiou", tm.MulticlassJaccardIndex(K, average="none", ignore_index=255)),
    ):
        each = 100 * theirs(*pixels).double().numpy()
        expected = np.average(each[kept], weights=weight if name == "fwiou" else None)
        assert METRICS[name].value(rest) == pytest.approx(expected, abs=1e-4)
        if (per_class := METRICS[name].classes) is not None:
            assert per_class(rest) == pytest.approx(each.tolist(), abs=1e-4)
    pairs = valid_pixels(drawn)
    images = [[iou_of([p], [n], c) for c in kept] for p, n in pairs]
    means = mean([mean(image) for image in images if any(value is not None for value in image)])
    assert METRICS["image-miou"].value(rest) == pytest.approx(means)
    for name in ("accuracy", "kappa"):
        assert METRICS[name].value(rest) == METRICS[name].value(margins)
    recorded = score(confusion_matrices(pixels[0], pixels[1], K).sum(0), ignored)
    assert METRICS["miou"].value(rest) == recorded.miou


def test_a_prediction_of_an_ignored_class_is_a_miss_by_hand() -> None:
    """Of 10 car pixels 6 are found, 4 taken for background; of 80 background pixels 5 for car; sign in neither."""
    matrix = [[75, 5, 0], [4, 6, 0], [0, 0, 0]]
    rest = replace(one(matrix), ignored=frozenset({0}))
    assert METRICS["miou"].value(rest) == pytest.approx(100 * 6 / 15)
    assert METRICS["dice"].value(rest) == pytest.approx(100 * 12 / 21)
    assert METRICS["macc"].value(rest) == METRICS["fwiou"].value(rest) * 15 / 10 == pytest.approx(60)  # type: ignore[operator]
    assert METRICS["accuracy"].value(rest) == pytest.approx(90)
    assert score(torch.tensor(matrix), {0}).miou == pytest.approx(40)
    with pytest.raises(ValueError, match="isn't ignored"):
        score(torch.tensor(matrix), {0, 1})


def test_miou_is_the_scores_bit_for_bit(drawn: tuple[Masks, Masks], margins: Margins) -> None:
    recorded = score(confusion_matrices(torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1]), K).sum(0))
    assert METRICS["miou"].value(margins) == recorded.miou
    assert METRICS["accuracy"].value(margins) == recorded.pixel_accuracy
    assert METRICS["miou"].classes is not None
    assert METRICS["miou"].classes(margins) == recorded.iou


def iou_of(predictions: list[Masks], labels: list[Masks], c: int) -> Percent:
    """Return the IoU of a class over masks without void, by sets of pixels."""
    prediction, label = (np.concatenate([mask.ravel() for mask in masks]) == c for masks in (predictions, labels))
    union = int((prediction | label).sum())
    return 100 * int((prediction & label).sum()) / union if union else None


def mean(values: list[Percent]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def valid_pixels(drawn: tuple[Masks, Masks]) -> list[tuple[Masks, Masks]]:
    pairs = [(p[n != 255], n[n != 255]) for p, n in zip(*drawn, strict=True)]
    return [(p, n) for p, n in pairs if len(n)]


def test_miou_per_image_from_the_pixels(drawn: tuple[Masks, Masks], margins: Margins) -> None:
    pairs = valid_pixels(drawn)
    assert len(pairs) == 8
    expected = mean([mean([iou_of([p], [n], c) for c in range(K)]) for p, n in pairs])
    assert METRICS["image-miou"].value(margins) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "low", "high"), [("small", 0, 0.01), ("medium", 0.01, 0.1), ("large", 0.1, 1)])
def test_miou_by_size_from_the_pixels(
    drawn: tuple[Masks, Masks], margins: Margins, name: str, low: float, high: float
) -> None:
    expected: list[Percent] = []
    for c in range(K):
        chosen = [(p, n) for p, n in valid_pixels(drawn) if low < (n == c).mean() <= high]
        expected.append(iou_of([p for p, _ in chosen], [n for _, n in chosen], c) if chosen else None)
    found = METRICS[f"miou-{name}"]
    assert found.classes is not None
    assert any(value is not None for value in expected)
    assert found.classes(margins) == pytest.approx(expected)
    assert found.value(margins) == pytest.approx(mean(expected))


def one(matrix: list[list[int]]) -> Margins:
    return Margins.of(ImageCounts.of(np.array([matrix])))


def test_absent_classes_by_hand() -> None:
    """Class 0: 6 hit of 8 labelled; 1 is labelled and never predicted; 2 is predicted only; 3 is in neither."""
    m = one([[6, 0, 2, 0], [2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = {name: METRICS[name].classes(m) for name in ("miou", "macc", "precision", "dice")}  # type: ignore[misc]
    assert found["miou"] == [60.0, 0.0, 0.0, None]
    assert found["macc"] == [75.0, 0.0, None, None]
    assert found["precision"] == [75.0, 0.0, 0.0, None]
    assert found["dice"] == [75.0, 0.0, 0.0, None]
    assert METRICS["miou"].value(m) == pytest.approx(20.0)
    assert METRICS["macc"].value(m) == pytest.approx(37.5)
    assert METRICS["fwiou"].value(m) == pytest.approx(60.0 * 0.8)
    # observed .6, by chance .8 · .8 + .2 · 0
    assert METRICS["kappa"].value(m) == pytest.approx(100 * (0.6 - 0.64) / (1 - 0.64))


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"boundary-iou"}))
def test_nothing_to_score_is_none_and_all_right_is_100(name: str) -> None:
    assert METRICS[name].value(one([[0, 0], [0, 0]])) is None
    right = one([[980, 0, 0], [0, 15, 0], [0, 0, 5]])
    assert METRICS[name].value(right) == pytest.approx(100)


def test_boundary_iou_by_hand_and_not_without_its_pixels(margins: Margins) -> None:
    """Two images, two classes: (6 + 2) of (8 + 4 + 8 + 2 - 8), and 1 of 5."""
    near = np.array([[[6, 1], [8, 3], [8, 2]], [[2, 0], [4, 1], [2, 0]]])
    images = replace(ImageCounts.of(np.ones((2, 2, 2), int)), near=near)
    assert METRICS["boundary-iou"].classes is not None
    assert METRICS["boundary-iou"].classes(Margins.of(images)) == pytest.approx([100 * 8 / 14, 100 / 5])
    with pytest.raises(BenchError, match="evaluate RUN --boundary"):
        METRICS["boundary-iou"].value(margins)


def test_pixels_of_a_large_dataset_are_counted_exactly() -> None:
    m = one([[3_000_000_001, 1], [1, 3_000_000_003]])
    assert m.label.tolist() == [[3_000_000_002, 3_000_000_004]]
    assert METRICS["kappa"].value(m) == pytest.approx(100)


def test_an_unknown_metric_is_named_with_its_nearest() -> None:
    with pytest.raises(BenchError, match=r"unknown metric 'mac' \(did you mean 'macc'"):
        metric("mac")
