"""Costs and losses of mask classification, in float32 under any autocast, with static shapes and without host syncs.

Source: Cheng et al., MaskFormer, NeurIPS 2021, section 3.2 (semantic segmentation: one target per class present), with
the focal loss of Lin et al., ICCV 2017 and the dice loss of Milletari et al., 3DV 2016 in MaskFormer's form.

Masks are compared at the resolution of the mask logits. A cell of a target holds the share of its valid pixels that
belong to the target, and weighs as much as the share of its pixels that are valid; so the losses are those at full
resolution on mask logits that are constant within a cell.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bench import kernels
from bench.arrays import IGNORE_INDEX
from methods.losses.matching import Matching
from methods.losses.segmentation import mean_where

FOCAL_ALPHA = 0.25  # Lin et al.; weight of cells inside the target
FOCAL_GAMMA = 2.0
_SMOOTH = 1.0  # MaskFormer's, added to numerator and denominator of the dice loss


class Targets(NamedTuple):
    """T target regions per image, of which some take no part.

    Attributes:
        label: (B, T) int64, in [0, K).
        mask: (B, T, h, w) in [0, 1].
        present: (B, T) bool, False for a target that takes no part.
        weight: (B, h, w) in [0, 1], 0 where nothing is known.
    """

    label: Tensor
    mask: Tensor
    present: Tensor
    weight: Tensor

    def repeat(self, times: int) -> Targets:
        """Return the targets of the batch repeated, one copy per decoder layer."""
        return Targets(*(x.repeat(times, *[1] * (x.ndim - 1)) for x in self))


class Weights(NamedTuple):
    """Weights of the class, focal and dice terms, in the cost of the matching and in the loss alike."""

    classes: float
    focal: float
    dice: float


def shrink(maps: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average maps over the valid pixels of each cell.

    Args:
        maps: (B, C, H, W), 0 where invalid.
        valid: (B, H, W) in [0, 1].
        size: (h, w), at most (H, W).

    Returns:
        Means (B, C, h, w), 0 where no pixel is valid, and the share of valid pixels (B, h, w).
    """
    weight = F.adaptive_avg_pool2d(valid[:, None].float(), size)
    return F.adaptive_avg_pool2d(maps.float(), size) / weight.clamp(min=1e-6), weight[:, 0]


def class_targets(label: Tensor, num_classes: int, size: tuple[int, int]) -> Targets:
    """Return one target for each class; a class takes part where it has a pixel.

    Args:
        label: (B, H, W) int64, 255 = ignore.
        num_classes: K, the number of targets.
        size: (h, w) of the masks.
    """
    classes = torch.arange(num_classes, device=label.device)
    one_hot = label[:, None] == classes[:, None, None]
    mask, weight = shrink(one_hot, label != IGNORE_INDEX, size)
    return Targets(classes.expand(len(label), -1), mask, one_hot.flatten(2).any(2), weight)


def _focal_halves(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the focal loss of a cell inside and of a cell outside the target."""
    p = masks.sigmoid()
    inside = FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA * F.softplus(-masks)
    outside = (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA * F.softplus(masks)
    return inside, outside


@torch.no_grad()
def pairwise_cost(classes: Tensor, masks: Tensor, targets: Targets, weights: Weights) -> Tensor:
    """Return the matching cost of every region with every target, (B, N, T); infinite for targets that take no part.

    Args:
        classes: logits (B, N, K + 1).
        masks: logits (B, N, h, w).
        targets: T per image.
        weights: of minus the class probability, the focal loss and the dice loss.
    """
    with torch.autocast(classes.device.type, enabled=False):
        x, weight = masks.float().flatten(2), targets.weight.flatten(1)[:, None]
        probability = classes.float().softmax(2)
        label = targets.label[:, None].expand(-1, classes.shape[1], -1)
        inside_weight = (targets.mask.flatten(2) * weight).transpose(1, 2)
        inside, outside = _focal_halves(x)
        focal = (inside - outside) @ inside_weight + (outside * weight).sum(2, keepdim=True)
        focal = focal / weight.sum(2, keepdim=True).clamp(min=1e-6)
        p = x.sigmoid()
        both = (p * weight).sum(2)[:, :, None] + inside_weight.sum(1)[:, None]
        dice = 1 - (2 * p @ inside_weight + _SMOOTH) / (both + _SMOOTH)
        cost = weights.focal * focal + weights.dice * dice - weights.classes * probability.gather(2, label)
        return cost.masked_fill(~targets.present[:, None], float("inf"))


def at_matched(values: Tensor, region: Tensor) -> Tensor:
    """Return values (B, N, ...) of each target's region (B, T) as (B, T, ...).

    On CUDA it is a product with rows of a unit matrix, because the deterministic gradient of ``gather`` sorts all values; an
    infinite value of any region then makes NaN of all.
    """
    if kernels.kind(values.device) == "cuda":
        regions = torch.arange(values.shape[1], device=values.device)
        chosen = (region[..., None] == regions).to(values.dtype)
        with torch.autocast(values.device.type, enabled=False):
            return torch.bmm(chosen, values.reshape(*values.shape[:2], -1)).view(*region.shape, *values.shape[2:])
    index = region.view(*region.shape, *[1] * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)


def class_loss(classes: Tensor, targets: Targets, matching: Matching, no_object_weight: float) -> Tensor:
    """Return the cross-entropy of matched regions with their target's class and of all others with "no object".

    A weighted mean over regions: 1 for matched ones, `no_object_weight` for the others.

    Args:
        classes: logits (B, N, K + 1).
        targets: T per image.
        matching: of the targets with the regions.
        no_object_weight: MaskFormer has 0.1.
    """
    batch, regions, outputs = classes.shape
    # Targets without a region write into one more column, which is cut off.
    index = torch.where(matching.matched, matching.region, regions)
    label = torch.full((batch, regions + 1), outputs - 1, device=classes.device)
    label = label.scatter(1, index, targets.label)[:, :regions]
    weight = torch.where(label == outputs - 1, no_object_weight, 1.0)
    loss = F.cross_entropy(classes.float().flatten(0, 1), label.flatten(), reduction="none")
    return (loss * weight.flatten()).sum() / weight.sum()


def mask_losses(masks: Tensor, targets: Targets, matching: Matching) -> tuple[Tensor, Tensor]:
    """Return the focal loss (mean over known cells) and the dice loss, each the mean over matched targets.

    Args:
        masks: logits (B, N, h, w).
        targets: T per image.
        matching: of the targets with the regions.
    """
    with torch.autocast(masks.device.type, enabled=False):
        x = at_matched(masks.float().flatten(2), matching.region)
        weight, target = targets.weight.flatten(1)[:, None], targets.mask.flatten(2)
        inside, outside = _focal_halves(x)
        focal = ((outside + target * (inside - outside)) * weight).sum(2) / weight.sum(2).clamp(min=1e-6)
        p, target = x.sigmoid() * weight, target * weight
        dice = 1 - (2 * (p * targets.mask.flatten(2)).sum(2) + _SMOOTH) / (p.sum(2) + target.sum(2) + _SMOOTH)
        return mean_where(focal, matching.matched), mean_where(dice, matching.matched)
