"""Pixel-wise losses on class scores, in float32 under any autocast, without host syncs.

Scores of any size are resized to the label's (bilinear, aligned corners), as in the ReCo authors' code. Where no pixel
counts, a loss is 0 and still part of the graph.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.resize import bilinear
from methods.base import Ohem

Reduction = Literal["nonzero", "valid"]
Share = Literal["image", "batch"]


def resize(scores: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Return scores (B, K, h, w) as float32 at `size` (H, W): bilinear, aligned corners."""
    return bilinear(scores.float(), size, align_corners=True)


def _per_pixel(logits: Tensor, label: Tensor) -> Tensor:
    # Reduced by hand: the built-in mean is NaN without valid pixels and has no deterministic version on CUDA.
    return F.cross_entropy(resize(logits, label.shape[1:]), label, ignore_index=IGNORE_INDEX, reduction="none")


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean where a mask of the same shape holds; 0 within the graph where it holds nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def cross_entropy(logits: Tensor, label: Tensor, ohem: Ohem | None = None) -> Tensor:
    """Return the mean cross-entropy over valid pixels, or over the hard ones of them.

    Args:
        logits: (B, K, h, w).
        label: (B, H, W), int64, 255 = ignore.
        ohem: see ``methods.base.Ohem``. Source: Shrivastava et al., CVPR 2016, by pixels as in CPS, U2PL and UniMatch.
    """
    loss, counted = _per_pixel(logits, label), label != IGNORE_INDEX
    if ohem is not None:
        # A probability p is a loss of -log p, and ignored pixels have a loss of 0: the easiest there is.
        hardest = loss.detach().flatten().topk(min(ohem.kept, loss.numel()), sorted=False).values
        counted = counted & (loss >= hardest.amin().clamp(max=-math.log(ohem.threshold)))
    return mean_where(loss, counted)


def pseudo_label_loss(
    logits: Tensor,
    pseudo_label: Tensor,
    confidence: Tensor,
    threshold: float,
    reduction: Reduction = "nonzero",
    share_of: Share = "image",
) -> Tensor:
    """Return the cross-entropy on pseudo-labels, weighted by the share of pixels that are confident.

    The weight is the share of valid pixels whose confidence is at least `threshold`; all valid pixels take part,
    confident or not.

    Args:
        logits: (B, K, h, w).
        pseudo_label: (B, H, W), int64, 255 = ignore.
        confidence: (B, H, W), the teacher's probability of the pseudo-label.
        threshold: in [0, 1].
        reduction: ``nonzero`` is the authors' code: the mean over pixels whose cross-entropy is above 0, so that pixels
            on which the student is already certain don't count. ``valid`` is the papers' formula: the mean over all
            valid pixels.
        share_of: each ``image`` has its own weight, as in ``compute_unsupervised_loss`` of the ReCo authors'
            ``module_list.py``, or the whole ``batch`` has one, as in ``trainSSL.py`` of the ClassMix authors' code.
    """
    valid = pseudo_label != IGNORE_INDEX
    over = (1, 2) if share_of == "image" else (0, 1, 2)
    confident = ((confidence >= threshold) & valid).sum(over, keepdim=True)
    weight = confident / valid.sum(over, keepdim=True).clamp(min=1)
    loss = _per_pixel(logits, pseudo_label)
    counted = loss > 0 if reduction == "nonzero" else valid
    return mean_where(weight * loss, counted)


def confident_loss(logits: Tensor, pseudo_label: Tensor, confidence: Tensor, threshold: float) -> Tensor:
    """Return the sum of the cross-entropy of confident pixels, divided by the number of valid pixels.

    Source: FixMatch, NeurIPS 2020, equation 4, by pixels.

    Args:
        logits: (B, K, h, w).
        pseudo_label: (B, H, W), int64, 255 = ignore.
        confidence: (B, H, W), the probability of the pseudo-label.
        threshold: in [0, 1]; pixels of at least this confidence count.
    """
    loss = torch.where(confidence >= threshold, _per_pixel(logits, pseudo_label), 0)
    return mean_where(loss, pseudo_label != IGNORE_INDEX)


def consistency(logits: Tensor, scores: Tensor, valid: Tensor) -> Tensor:
    """Return the squared distance of the softmax outputs, summed over classes, mean over valid pixels.

    Source: the consistency cost of Mean Teacher, NeurIPS 2017, section 2 (a squared norm; the authors' code divides it by
    K). French et al.'s code sums as here, but divides by all pixels and scales by the share of confident ones.

    Args:
        logits: the student's, (B, K, h, w).
        scores: the teacher's probabilities, (B, K, H, W).
        valid: (B, H, W) bool.
    """
    student = resize(logits, scores.shape[2:]).softmax(dim=1)
    return mean_where((student - scores.float()).square().sum(dim=1), valid)
