"""The four losses of RC²L between a student's regions and a teacher's: pure functions with static shapes.

Source: RC²L (region-level contrastive and consistency learning) as its abstract and figure captions describe it; exact
formulas aren't public, so those below are this project's choice. All are float32 under any autocast, need no host sync,
give no gradient to the teacher, and are 0 within the graph where no teacher region takes part. Besides the masks
themselves, memory and time are O(regions²), whatever the number of pixels.

Shapes: B images, N student and T teacher regions each, T being the most that an image can have (others are absent).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.losses.mask_classification import Targets, at_matched
from methods.losses.matching import Matching
from methods.losses.segmentation import mean_where

_EPS = 1e-6


def pairwise_dice(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    """Return the dice coefficients of all pairs of masks, (B, N, T) in [0, 1].

    With squares in the denominator (Milletari et al.), so that it is 1 only where both masks are equal, soft ones too.

    Args:
        student: (B, N, h, w) in [0, 1].
        teacher: (B, T, h, w) in [0, 1].
        weight: (B, h, w), 0 where nothing is known.
    """
    p, t, w = student.flatten(2), teacher.flatten(2), weight.flatten(1)[:, None]
    weighted = t * w
    squares = (p.square() * w).sum(2)[:, :, None] + (t * weighted).sum(2)[:, None]
    return 2 * (p @ weighted.transpose(1, 2)) / squares.clamp(min=_EPS)


def region_features(pixels: Tensor, masks: Tensor) -> Tensor:
    """Return features by mask average pooling: pixels (B, C, h, w) and masks (B, N, h, w) in [0, 1] to (B, N, C)."""
    p = masks.flatten(2)
    return p @ pixels.flatten(2).transpose(1, 2) / p.sum(2, keepdim=True).clamp(min=_EPS)


def positives(predicted: Tensor, targets: Targets, matching: Matching) -> Tensor:
    """Return which student regions of the same image are a teacher region's positives, (B, N, T) bool.

    Those that predict its class, and the matched one.

    Args:
        predicted: class of each student region, (B, N) int64; K for "no object".
        targets: the teacher's regions.
        matching: of the teacher's regions with the student's.
    """
    indices = torch.arange(predicted.shape[1], device=predicted.device)[:, None]
    own = (indices == matching.region[:, None]) & matching.matched[:, None]
    return (predicted[:, :, None] == targets.label[:, None]) | own


def info_nce(similarity: Tensor, positive: Tensor, anchor: Tensor, temperature: float) -> Tensor:
    """Return the mean over anchors of the mean over their positives of log(1 + the sum over negatives of e(n) / e(p)).

    e(x) is exp(similarity / temperature). Source: van den Oord et al., 2018; several positives as in Khosla et al.,
    Supervised Contrastive Learning, NeurIPS 2020 (their L_out), other positives left out of the denominator.

    Args:
        similarity: (R, A) of R candidates with A anchors, or (B, R, A).
        positive: of that shape, bool; all other candidates are negatives.
        anchor: (A,) or (B, A) bool, which anchors count.
        temperature: above 0.
    """
    logits = similarity / temperature
    # The smallest finite number instead of -inf: an anchor without negatives must not give NaN gradients.
    negative = logits.masked_fill(positive, torch.finfo(logits.dtype).min).logsumexp(-2, keepdim=True)
    per_anchor = torch.where(positive, F.softplus(negative - logits), 0).sum(-2) / positive.sum(-2).clamp(min=1)
    return mean_where(per_anchor, anchor & positive.any(-2))


def region_mask_contrast(masks: Tensor, targets: Targets, positive: Tensor, temperature: float) -> Tensor:
    """RMC: each teacher mask picks its positives among the student masks of the image, by their dice coefficients.

    Args:
        masks: the student's, (B, N, h, w) in [0, 1].
        targets: the teacher's regions.
        positive: see :func:`positives`.
        temperature: above 0.
    """
    with torch.autocast(masks.device.type, enabled=False):
        dice = pairwise_dice(masks.float(), targets.mask.detach(), targets.weight)
        return info_nce(dice, positive, targets.present, temperature)


def region_feature_contrast(
    student: Tensor, teacher: Tensor, predicted: Tensor, targets: Targets, positive: Tensor, temperature: float
) -> Tensor:
    """RFC: each teacher region picks its positives among the student regions of all images, by cosine similarity.

    In other images, the positives are the regions that predict the teacher region's class.

    Args:
        student: region features (B, N, C).
        teacher: region features (B, T, C).
        predicted: class of each student region, (B, N) int64.
        targets: the teacher's regions.
        positive: within the image, see :func:`positives`.
        temperature: above 0.
    """
    with torch.autocast(student.device.type, enabled=False):
        own, other = (F.normalize(x.float(), dim=2, eps=_EPS).flatten(0, 1) for x in (student, teacher.detach()))
        same = predicted.flatten()[:, None] == targets.label.flatten()
        batch, regions, count = positive.shape
        # The pairs within an image are the diagonal blocks of the (B·N, B·T) matrix.
        image = torch.eye(batch, dtype=torch.bool, device=same.device)[:, None, :, None]
        matched = (image & positive[:, :, None]).expand(batch, regions, batch, count).reshape_as(same)
        return info_nce(own @ other.T, same | matched, targets.present.flatten(), temperature)


def region_class_consistency(classes: Tensor, targets: Targets, matching: Matching) -> Tensor:
    """RCC: cross-entropy of the matched student region with the teacher region's class, mean over teacher regions.

    Args:
        classes: the student's logits (B, N, K + 1).
        targets: the teacher's regions.
        matching: of the teacher's regions with the student's.
    """
    log_probability = at_matched(classes.float(), matching.region).log_softmax(2)
    return mean_where(-log_probability.gather(2, targets.label[:, :, None])[:, :, 0], matching.matched)


def semantic_mask_consistency(student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
    """SMC: 1 - dice of the student's and the teacher's semantic mask, mean over the classes present in each image.

    A class is present where a teacher region has it.

    Args:
        student: per-pixel scores (B, K, h, w), class times mask marginalised over the regions.
        teacher: likewise.
        targets: the teacher's regions.
    """
    classes = torch.arange(student.shape[1], device=student.device)[:, None]
    present = ((targets.label[:, None] == classes) & targets.present[:, None]).any(2)
    s, t, w = student.float().flatten(2), teacher.detach().float().flatten(2), targets.weight.flatten(1)[:, None]
    squares = ((s.square() + t.square()) * w).sum(2)
    return mean_where(1 - 2 * (s * t * w).sum(2) / squares.clamp(min=_EPS), present)
