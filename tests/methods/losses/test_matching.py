"""Matching against all assignments; costs and losses of mask classification against loops written from the equations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from methods.losses.mask_classification import (
    Targets,
    Weights,
    class_loss,
    class_targets,
    mask_losses,
    pairwise_cost,
    shrink,
)
from methods.losses.matching import match, solve

K = 3


def least_cost(cost: np.ndarray) -> float:
    """The least total over all ways to give each target (column) its own region, as many targets as there can be."""
    regions, targets = cost.shape
    if regions < targets:
        return least_cost(cost.T)
    ways = itertools.permutations(range(regions), targets)
    return min(sum(float(cost[row, column]) for column, row in enumerate(rows)) for rows in ways)


@pytest.mark.parametrize(("regions", "targets"), [(5, 3), (4, 4), (3, 5), (1, 2), (4, 0)])
def test_matching_equals_all_assignments(regions: int, targets: int) -> None:
    for seed in range(5):
        cost = np.random.default_rng(seed).normal(size=(regions, targets + 2))
        cost[:, [0, -1]] = np.inf  # two targets that take no part
        region = solve(cost)
        used = [(row, column) for column, row in enumerate(region) if row >= 0]
        assert region[0] == region[-1] == -1
        assert len(used) == len({row for row, _ in used}) == min(regions, targets)
        total = sum(cost[row, column] for row, column in used)
        assert total == pytest.approx(least_cost(cost[:, 1:-1]) if targets else 0)


def test_batches_are_matched_together_and_cut_apart() -> None:
    g = torch.Generator().manual_seed(0)
    costs = [torch.randn(2, 4, 3, generator=g), torch.randn(3, 5, 6, generator=g)]
    costs[0][1] = float("inf")
    for cost, found in zip(costs, match(costs), strict=True):
        want = torch.from_numpy(np.stack([solve(one.numpy()) for one in cost]))
        assert torch.equal(found.matched, want >= 0)
        assert torch.equal(found.region[found.matched], want[found.matched])
        assert (found.region[~found.matched] == 0).all()


def test_a_diverged_cost_does_not_stop_the_matching() -> None:
    cost = torch.tensor([[[float("nan"), 1.0], [0.0, float("nan")]]])
    (found,) = match([cost])
    assert found.region.tolist() == [[1, 0]]


def test_fake_costs_are_the_worst_case() -> None:
    with FakeTensorMode():
        (found,) = match([torch.zeros(2, 4, 3)])
    assert found.region.shape == found.matched.shape == (2, 3)


def case(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Two images, five regions; 6x6 masks of three classes with void pixels, class 2 absent from the second image."""
    g = torch.Generator().manual_seed(0)
    label = torch.randint(K, (2, 6, 6), generator=g)
    label[1][label[1] == 2] = 0
    label[:, 0, :3] = 255
    label[0, 4:, 4:] = 255  # a whole cell at 3x3
    classes = torch.randn(2, 5, K + 1, generator=g, dtype=dtype).requires_grad_()
    return classes, torch.randn(2, 5, 3, 3, generator=g, dtype=dtype).requires_grad_(), label


def test_shrunk_targets_by_hand() -> None:
    label = torch.tensor([[[0, 0, 1, 1], [0, 1, 255, 255], [255, 255, 1, 1], [255, 255, 1, 1]]])
    targets = class_targets(label, K, (2, 2))
    assert targets.label.tolist() == [[0, 1, 2]]
    assert targets.present.tolist() == [[True, True, False]]
    assert targets.weight.tolist() == [[[1, 0.5], [0, 1]]]
    assert targets.mask[0, :2].tolist() == [[[0.75, 0], [0, 0]], [[0.25, 1], [0, 1]]]
    means, weight = shrink(torch.ones(1, 2, 5, 5), torch.ones(1, 5, 5), (2, 2))
    assert (means == 1).all() and (weight == 1).all()


def valid_pixels(masks: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Mask logits (N, P) at full resolution, constant within each cell, and labels (P,) on the valid pixels."""
    fine = F.interpolate(masks[None], scale_factor=2, mode="nearest")[0]
    return fine[:, label != 255], label[label != 255]


def focal_by_hand(logits: Tensor, inside: Tensor) -> Tensor:
    loss: Tensor = sigmoid_focal_loss(logits, inside.to(logits), alpha=0.25, gamma=2.0, reduction="mean")
    return loss


def dice_by_hand(logits: Tensor, inside: Tensor) -> Tensor:
    p, t = logits.sigmoid(), inside.to(logits)
    smooth = 4  # one cell, of four pixels
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def test_costs_equal_loops_at_full_resolution() -> None:
    classes, masks, label = case()
    cost = pairwise_cost(classes, masks, class_targets(label, K, (3, 3)), Weights(2.0, 20.0, 3.0))
    for b, n, c in itertools.product(range(2), range(5), range(K)):
        if (b, c) == (1, 2):
            assert math.isinf(cost[b, n, c])
            continue
        logits, truth = valid_pixels(masks[b], label[b])
        inside = truth == c
        want = -2 * classes[b, n].softmax(0)[c] + 20 * focal_by_hand(logits[n], inside)
        torch.testing.assert_close(cost[b, n, c], want + 3 * dice_by_hand(logits[n], inside))


def test_losses_and_gradients_equal_loops_at_full_resolution() -> None:
    classes, masks, label = case(torch.float64)
    targets = class_targets(label, K, (3, 3))
    (matching,) = match([pairwise_cost(classes, masks, targets, Weights(1, 20, 1))])
    focal, dice = mask_losses(masks, targets, matching)
    focals, dices, scores, norm = [], [], torch.zeros(()), 0.0
    for b in range(2):
        logits, truth = valid_pixels(masks[b].float(), label[b])
        given = {int(matching.region[b, c]): c for c in range(K) if matching.matched[b, c]}
        assert sorted(given.values()) == sorted(set(label[b].flatten().tolist()) - {255})
        for n in range(5):
            c = given.get(n, K)
            weight = 0.1 if c == K else 1.0
            scores, norm = scores - weight * classes[b, n].float().log_softmax(0)[c], norm + weight
            if c < K:
                focals.append(focal_by_hand(logits[n], truth == c))
                dices.append(dice_by_hand(logits[n], truth == c))
    loss = class_loss(classes, targets, matching, 0.1)
    wanted = (scores / norm, torch.stack(focals).mean(), torch.stack(dices).mean())
    inputs = (classes, masks, masks)
    for got, want, x in zip((loss, focal, dice), wanted, inputs, strict=True):
        torch.testing.assert_close(got, want)
        gradients = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in (got, want)]
        torch.testing.assert_close(*gradients)


def test_perfect_regions_cost_nothing_and_void_pixels_do_not_count() -> None:
    label = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1]]])
    classes = 100 * F.one_hot(torch.tensor([[1, 0, K]]), K + 1).float()
    masks = torch.tensor([[[[-100.0, 100.0]], [[100.0, -100.0]], [[100.0, 100.0]]]])
    for void in (False, True):
        if void:
            label = label.clone()
            label[..., 3] = 255
            masks = F.interpolate(masks.flatten(0, 1)[None], (2, 4))[0].view(1, 3, 2, 4).contiguous()
            masks[..., 3] *= -1  # wrong where nothing is known
        targets = class_targets(label, K, (masks.shape[2], masks.shape[3]))
        (matching,) = match([pairwise_cost(classes, masks, targets, Weights(1, 20, 1))])
        assert matching.region[matching.matched].tolist() == [1, 0]
        for value in (class_loss(classes, targets, matching, 0.1), *mask_losses(masks, targets, matching)):
            assert value.item() == pytest.approx(0, abs=1e-6)


def test_images_without_a_valid_pixel_are_zero_within_the_graph() -> None:
    classes, masks, label = case()
    targets = class_targets(torch.full_like(label, 255), K, (3, 3))
    (matching,) = match([pairwise_cost(classes, masks, targets, Weights(1, 20, 1))])
    assert not matching.matched.any()
    for value in mask_losses(masks, targets, matching):
        assert value == 0
        assert (torch.autograd.grad(value, masks, retain_graph=True)[0] == 0).all()
    want = F.cross_entropy(classes.flatten(0, 1), torch.full((10,), K))
    torch.testing.assert_close(class_loss(classes, targets, matching, 0.1), want)


def test_repeated_targets_line_up_with_stacked_layers() -> None:
    targets = class_targets(case()[2], K, (3, 3))
    twice = targets.repeat(2)
    assert isinstance(twice, Targets)
    assert all(torch.equal(part[2:], whole) for part, whole in zip(twice, targets, strict=True))
