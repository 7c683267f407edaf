from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Ohem
from methods.losses.segmentation import Reduction, consistency, cross_entropy, pseudo_label_loss, resize


def example(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (3, 4, 5, 6), label and confidence (3, 9, 11)."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(4, (3, 9, 11), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.3] = 255
    confidence = torch.rand(label.shape, generator=generator).masked_fill(label == 255, 0)
    return torch.randn(3, 4, 5, 6, generator=generator).to(dtype) * 3, label, confidence


def large(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resizing with aligned corners, from its definition."""

    def weights(new: int, old: int) -> Tensor:
        at = torch.arange(new) * (old - 1) / (new - 1)
        return (1 - (at[:, None] - torch.arange(old)).abs()).clamp(min=0)

    return weights(size[0], logits.shape[2]) @ logits.float() @ weights(size[1], logits.shape[3]).T


def losses_by_hand(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of each pixel, 0 on ignored ones."""
    scores = large(logits, (label.shape[1], label.shape[2]))
    out = torch.zeros(label.shape)
    for i, y, x in (label != 255).nonzero().tolist():
        pixel = scores[i, :, y, x]
        out[i, y, x] = -math.log(math.exp(pixel[label[i, y, x]]) / sum(math.exp(v) for v in pixel))
    return out


def test_cross_entropy_by_hand_and_against_torch() -> None:
    logits, label, _ = example()
    expected = losses_by_hand(logits, label).sum() / (label != 255).sum()
    torch.testing.assert_close(cross_entropy(logits, label), expected)
    builtin = F.cross_entropy(large(logits, (9, 11)), label, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, label), builtin)


def mined_by_hand(loss: Tensor, label: Tensor, threshold: float, kept: int) -> float:
    """The mean over the pixels that are hard: sort all valid ones by the probability of their class."""
    by_probability = sorted((math.exp(-float(x)), float(x)) for x in loss[label != 255])
    bar = max(threshold, by_probability[min(kept, len(by_probability)) - 1][0])
    chosen = [x for p, x in by_probability if p <= bar + 1e-7]
    return sum(chosen) / len(chosen)


@pytest.mark.parametrize(("threshold", "kept"), [(0.3, 1), (0.7, 1), (0.05, 60), (0.3, 150), (0.7, 10_000)])
def test_hard_example_mining_by_hand(threshold: float, kept: int) -> None:
    logits, label, _ = example()
    loss = losses_by_hand(logits, label)
    found = cross_entropy(logits, label, Ohem(threshold, kept))
    assert float(found) == pytest.approx(mined_by_hand(loss, label, threshold, kept), rel=1e-4)


def test_mining_keeps_everything_where_little_is_valid() -> None:
    logits, label, _ = example()
    label[:, 2:] = 255
    assert torch.equal(cross_entropy(logits, label, Ohem(0.01, 200)), cross_entropy(logits, label))
    label.fill_(255)
    assert float(cross_entropy(logits, label, Ohem(0.7, 10))) == 0


@pytest.mark.parametrize("reduction", ["nonzero", "valid"])
def test_pseudo_label_loss_by_hand(reduction: Reduction) -> None:
    logits, label, confidence = example()
    logits[0] = 0
    logits[0, 2] = 200  # an image on which the student is certain: where the label is 2, its loss is exactly 0
    label[0, :5] = 2
    confidence[0, :5] = 0.95
    confidence[1] = 0.1  # an image without a confident pixel: weight 0, but its pixels are counted
    loss = losses_by_hand(logits[1:], label[1:])
    certain = F.cross_entropy(large(logits[:1], (9, 11)), label[:1], ignore_index=255, reduction="none")
    loss = torch.cat((certain, loss))
    total = count = 0.0
    for i in range(3):
        valid = int((label[i] != 255).sum())
        share = sum(float(c) >= 0.6 for c in confidence[i].flatten()) / valid
        total += share * float(loss[i].sum())
        count += int((loss[i] > 0).sum()) if reduction == "nonzero" else valid
    got = pseudo_label_loss(logits, label, confidence, 0.6, reduction)
    assert float(got) == pytest.approx(total / count, rel=1e-5)


def test_one_share_for_the_whole_batch_by_hand() -> None:
    logits, label, confidence = example()
    label[2] = 255  # an image without a valid pixel
    confidence[2] = 0
    confidence[1] *= 0.3
    loss = losses_by_hand(logits, label)
    valid = [(i, y, x) for i in range(3) for y in range(9) for x in range(11) if label[i, y, x] != 255]
    share = sum(float(confidence[at]) >= 0.6 for at in valid) / len(valid)
    expected = share * sum(float(loss[at]) for at in valid) / len(valid)
    got = pseudo_label_loss(logits, label, confidence, 0.6, "valid", "batch")
    assert float(got) == pytest.approx(expected, rel=1e-5)
    assert float(pseudo_label_loss(logits, label, confidence, 0.6, "valid", "image")) != pytest.approx(
        expected, rel=0.01
    )
    one = logits[:1], label[:1], confidence[:1], 0.6
    assert torch.equal(pseudo_label_loss(*one, share_of="batch"), pseudo_label_loss(*one, share_of="image"))


def test_the_two_reductions_differ_only_by_certain_pixels() -> None:
    logits, label, confidence = example()
    args = (logits, label, confidence, 0.5)
    torch.testing.assert_close(pseudo_label_loss(*args, "nonzero"), pseudo_label_loss(*args, "valid"))


def test_consistency_by_hand() -> None:
    logits, label, _ = example()
    scores = torch.randn(3, 4, 9, 11, generator=torch.Generator().manual_seed(2)).softmax(1)
    student = large(logits, (9, 11)).softmax(1)
    pixels = [
        sum((float(student[i, k, y, x]) - float(scores[i, k, y, x])) ** 2 for k in range(4))
        for i, y, x in (label != 255).nonzero().tolist()
    ]
    got = consistency(logits, scores, label != 255)
    assert float(got) == pytest.approx(sum(pixels) / len(pixels), rel=1e-5)
    same = consistency(logits, resize(logits, (9, 11)).softmax(1), label != 255)
    assert float(same) == 0


def test_nothing_valid_is_zero_and_in_the_graph() -> None:
    logits, label, confidence = example(torch.float32)
    logits.requires_grad_()
    label.fill_(255)
    terms = (
        cross_entropy(logits, label),
        pseudo_label_loss(logits, label, confidence * 0, 0.9, "nonzero"),
        pseudo_label_loss(logits, label, confidence * 0, 0.9, "valid"),
        consistency(logits, torch.zeros(3, 4, 9, 11), label != 255),
    )
    for term in terms:
        (gradient,) = torch.autograd.grad(term, logits)
        assert term.item() == 0
        assert not gradient.any()


def test_no_confident_pixel_is_zero() -> None:
    logits, label, confidence = example()
    assert float(pseudo_label_loss(logits, label, confidence, 1.0)) == 0


def test_gradients() -> None:
    logits, label, confidence = example(torch.float32)
    scores = torch.rand(3, 4, 9, 11, generator=torch.Generator().manual_seed(2)).softmax(1)
    losses: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: cross_entropy(x, label),
        lambda x: pseudo_label_loss(x, label, confidence, 0.3, "valid"),
        lambda x: consistency(x, scores, label != 255),
    )
    for loss in losses:
        x = logits.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x), x)
        step = 1e-2 * gradient / gradient.norm()
        slope = (loss(logits + step) - loss(logits - step)) / 2e-2
        torch.testing.assert_close(slope, gradient.norm(), rtol=1e-2, atol=1e-4)


def test_float32_under_autocast() -> None:
    logits, label, confidence = example(torch.bfloat16)
    plain = cross_entropy(logits, label), pseudo_label_loss(logits, label, confidence, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        inside = cross_entropy(logits, label), pseudo_label_loss(logits, label, confidence, 0.5)
        soft = consistency(logits, torch.rand(3, 4, 9, 11), label != 255)
    assert [t.dtype for t in (*inside, soft)] == [torch.float32] * 3
    torch.testing.assert_close(inside, plain)
