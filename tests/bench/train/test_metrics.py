from __future__ import annotations

import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from bench.train.metrics import confusion_matrices, confusion_matrix, score


def test_confusion_matches_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randint(0, 7, (4, 33, 21), generator=generator)
    label = torch.randint(0, 7, (4, 33, 21), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.2] = 255
    mine = confusion_matrix(prediction, label.to(torch.uint8), 7)
    theirs = MulticlassConfusionMatrix(7, ignore_index=255)
    assert torch.equal(mine, theirs(prediction, label))
    each = confusion_matrices(prediction, label, 7)
    assert torch.equal(each, torch.stack([theirs(p, n) for p, n in zip(prediction, label, strict=True)]))
    jaccard = MulticlassJaccardIndex(7, average="macro", ignore_index=255)
    assert score(mine).miou == pytest.approx(100 * float(jaccard(prediction, label)), abs=1e-4)


def test_hand_worked_case_with_an_absent_class_and_void() -> None:
    label = torch.tensor([[0, 0, 1, 255], [1, 1, 255, 0]])
    prediction = torch.tensor([[0, 1, 1, 2], [1, 0, 0, 0]])
    # class 0: hit 2, union 4; class 1: hit 2, union 4; class 2 only predicted on void: absent; class 3 absent
    found = score(confusion_matrix(prediction, label, 4))
    assert found.iou == [50.0, 50.0, None, None]
    assert found.miou == 50.0
    assert found.pixel_accuracy == pytest.approx(100 * 4 / 6)


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    found = score(confusion_matrix(torch.tensor([2, 0]), torch.tensor([0, 0]), 3))
    assert found.iou == [50.0, None, 0.0]
    assert found.miou == 25.0


def test_no_valid_pixel_is_an_error_not_a_number() -> None:
    with pytest.raises(ValueError, match="no pixel"):
        score(confusion_matrix(torch.zeros(3, dtype=torch.long), torch.full((3,), 255), 2))


def test_counts_are_exact_beyond_float_precision() -> None:
    matrix = torch.diag(torch.tensor([2**40 + 1, 1]))
    assert score(matrix).iou == [100.0, 100.0]
