"""The parts of U2PL's losses, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from methods.losses.memory_bank import MemoryBank, drawn_from
from methods.losses.u2pl import bar_at, by_class, contrast, entropy, reliable_loss

CLASSES = 5


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_entropy_is_scipys() -> None:
    scores = torch.randn(2, CLASSES, 3, 4, generator=numbers(0)).softmax(1)
    np.testing.assert_allclose(entropy(scores), stats.entropy(scores.numpy(), axis=1), rtol=1e-5)
    sure = F.one_hot(torch.tensor([[[2]]]), CLASSES).movedim(3, 1).float()
    assert entropy(sure).tolist() == [[[0]]]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.35, 1.0])
def test_a_bar_is_numpys_percentile_of_the_valid(share: float) -> None:
    values = torch.rand(3, 7, 9, generator=numbers(1))
    valid = torch.rand(values.shape, generator=numbers(2)) < 0.7
    expected = np.percentile(values[valid].double(), 100 * (1 - share), method="nearest")
    assert float(bar_at(values, valid, share)) == pytest.approx(float(expected))
    if share == 0.2:
        assert ((values >= bar_at(values, valid, share)) & valid).sum() == pytest.approx(0.2 * valid.sum(), abs=2)


def test_a_bar_without_anything_valid_is_0() -> None:
    assert float(bar_at(torch.rand(4), torch.zeros(4, dtype=torch.bool), 0.2)) == 0


def test_reliable_loss_by_hand() -> None:
    logits = torch.randn(2, CLASSES, 3, 4, generator=numbers(3)).requires_grad_()
    label = torch.randint(CLASSES, (2, 3, 4), generator=numbers(4))
    label[0, 0, 0] = IGNORE_INDEX
    kept = torch.rand(label.shape, generator=numbers(5)) < 0.5
    kept[0, 0, 0] = True
    losses = []
    for image, y, x in np.ndindex(2, 3, 4):
        if kept[image, y, x] and label[image, y, x] != IGNORE_INDEX:
            p = logits[image, :, y, x].exp() / logits[image, :, y, x].exp().sum()
            losses.append(-p[label[image, y, x]].log())
    # The mean over what is kept, times the factor of equation 6: all pixels over those.
    expected = sum(losses) / len(losses) * (24 / len(losses))
    torch.testing.assert_close(reliable_loss(logits, label, kept), expected)
    none = reliable_loss(logits, label, torch.zeros_like(kept))
    assert float(none.detach()) == 0
    none.backward()  # type: ignore[no-untyped-call]


def test_pixels_by_class_one_by_one() -> None:
    count, least, low, high = 200, 0.3, 1, 3
    scores = torch.randn(count, CLASSES, generator=numbers(6)).softmax(1)
    annotated = torch.rand(count, generator=numbers(7)) < 0.5
    label = torch.where(annotated, torch.randint(CLASSES, (count,), generator=numbers(8)), scores.argmax(1))
    label[::17] = IGNORE_INDEX
    kept = annotated | (torch.rand(count, generator=numbers(9)) < 0.6)
    found = by_class(scores, label, kept, annotated, least=least, low=low, high=high)
    for pixel in range(count):
        order = sorted(range(CLASSES), key=lambda c: -float(scores[pixel, c]))
        for c in range(CLASSES):
            own, rank = int(label[pixel]) == c, order.index(c)
            anchor = own and float(scores[pixel, c]) > least and bool(kept[pixel])
            if int(label[pixel]) == IGNORE_INDEX:
                negative = False
            elif annotated[pixel]:
                negative = not own and rank < low
            else:
                negative = not kept[pixel] and low <= rank < high
            assert (bool(found.anchors[c, pixel]), bool(found.negatives[c, pixel])) == (anchor, negative)
    assert found.anchors.any(1).all()
    assert found.negatives.any(1).all()


def test_contrast_by_loops_and_its_gradient() -> None:
    pixels, width, temperature = 40, 6, 0.5
    rows = torch.randn(pixels, width, generator=numbers(10), requires_grad=True)
    targets = torch.randn(pixels, width, generator=numbers(11))
    owner = torch.randint(CLASSES - 1, (pixels,), generator=numbers(12))
    anchors = torch.stack([owner == c for c in range(CLASSES)])  # the last class has none
    bank, mask = MemoryBank(CLASSES, 9, width), torch.ones(CLASSES, pixels, dtype=torch.bool)
    mask[1] = False  # a class without negatives
    bank.add(torch.randn(pixels, width, generator=numbers(13)), mask, torch.rand(pixels, generator=numbers(14)), 9)
    order, uniform = torch.rand(pixels, generator=numbers(15)), torch.rand(CLASSES, 4, 3, generator=numbers(16))
    found = contrast(rows, targets, anchors, bank, order, uniform, temperature)
    index, there = drawn_from(anchors, order, 4)
    places, _ = bank.draw(uniform)
    of_classes = []
    for c in (0, 2, 3):
        centre, losses = targets[anchors[c]].mean(0), []
        for m in range(4):
            if there[c, m]:
                anchor = rows[index[c, m]]
                similar = [math.e ** (F.cosine_similarity(anchor, centre, dim=0) / temperature)]
                for n in range(3):
                    key = bank.rows[int(places[c, m, n])]
                    similar.append(math.e ** (F.cosine_similarity(anchor, key, dim=0) / temperature))
                losses.append(-(similar[0] / sum(similar)).log())
        of_classes.append(torch.stack(losses).mean())
    expected = torch.stack(of_classes).mean()
    torch.testing.assert_close(found, expected)
    (own,) = torch.autograd.grad(found, rows)
    (wanted,) = torch.autograd.grad(expected, rows)
    torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-6)
    assert own.abs().sum() > 0


def test_without_anchors_or_negatives_the_contrast_is_0_within_the_graph() -> None:
    rows = torch.randn(10, 4, requires_grad=True)
    bank = MemoryBank(2, 3, 4)
    loss = contrast(rows, rows.detach(), torch.ones(2, 10) > 0, bank, torch.rand(10), torch.rand(2, 3, 2), 0.5)
    assert float(loss.detach()) == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None and rows.grad.isfinite().all()
