"""The parts of U2PL's losses: which pixels are reliable, which negatives the others are, and the contrast with them.

Source: Wang et al., Semi-Supervised Semantic Segmentation Using Unreliable Pseudo-Labels, CVPR 2022, section 3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from methods.losses.memory_bank import MemoryBank, drawn_from
from methods.losses.negatives import negatives_logsumexp


def entropy(scores: Tensor) -> Tensor:
    """Return the entropy of probabilities (B, K, H, W), (B, H, W)."""
    terms: Tensor = torch.special.entr(scores.float())
    return terms.sum(dim=1)


def bar_at(values: Tensor, valid: Tensor, share: float) -> Tensor:
    """Return the value that a share of the valid ones reaches or exceeds, to the nearest of them; 0 without any.

    Args:
        values: any shape, at least 0.
        valid: the same shape, bool.
        share: in [0, 1].
    """
    ascending = torch.where(valid, values, -1).flatten().sort().values
    count = valid.sum()
    place = len(ascending) - count + ((1 - share) * (count - 1).clamp(min=0)).round().long()
    return ascending.gather(0, place.clamp(max=len(ascending) - 1)[None])[0].clamp(min=0)


def reliable_loss(logits: Tensor, label: Tensor, kept: Tensor) -> Tensor:
    """Return the mean cross-entropy of the kept pixels, times all pixels' number over theirs (equation 6 of the paper).

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) int64, 255 = ignore.
        kept: (B, H, W) bool.
    """
    kept = kept & (label != IGNORE_INDEX)
    loss = F.cross_entropy(logits.float(), label, ignore_index=IGNORE_INDEX, reduction="none")
    count = kept.sum().clamp(min=1)
    return torch.where(kept, loss, 0).sum() / count * (kept.numel() / count)


class Pixels(NamedTuple):
    """Pixels of labelled and of unlabelled images, P in all, by class.

    Attributes:
        anchors: (K, P) bool: pixels of the class.
        negatives: (K, P) bool: pixels that are certainly not of the class, though they may look like it.
    """

    anchors: Tensor
    negatives: Tensor


def by_class(
    scores: Tensor, label: Tensor, kept: Tensor, labelled: Tensor, *, least: float, low: int, high: int
) -> Pixels:
    """Sort pixels by what they are to each class (equations 8 to 13 of the paper).

    Args:
        scores: the teacher's probabilities (P, K).
        label: (P,) annotation or pseudo-label, 255 = ignore.
        kept: (P,) bool, whether the pseudo-label is reliable.
        labelled: (P,) bool, whether there is an annotation.
        least: probability of its class from which a pixel is an anchor.
        low, high: an unreliable pixel is a negative of the classes that are at least `low` and less than `high` places
            behind its likeliest; a labelled one of those among its `low` likeliest that aren't its own.
    """
    classes = torch.arange(scores.shape[1], device=scores.device)
    own, valid = label[:, None] == classes, (label != IGNORE_INDEX)[:, None]
    anchors = own & (scores > least) & (kept | labelled)[:, None]
    rank = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    of_labelled = labelled[:, None] & ~own & (rank < low)
    of_others = ~labelled[:, None] & ~kept[:, None] & (rank >= low) & (rank < high)
    return Pixels(anchors.T, ((of_labelled | of_others) & valid).T)


def contrast(
    rows: Tensor, targets: Tensor, anchors: Tensor, bank: MemoryBank, order: Tensor, uniform: Tensor, temperature: float
) -> Tensor:
    """Return the contrastive loss (equation 7 of the paper), float32; 0 within the graph where no class has all it takes.

    Args:
        rows: the student's representations (P, D), which take the gradient.
        targets: the teacher's (P, D); the positive of a class is the mean over its anchors.
        anchors: (K, P) bool.
        bank: of negatives.
        order: (P,), see ``drawn_from``.
        uniform: (K, M, N) in [0, 1): N negatives for each of at most M anchors per class.
        temperature: of the cosine similarities.
    """
    with torch.autocast(rows.device.type, enabled=False):
        index, there = drawn_from(anchors, order, uniform.shape[1])
        anchor = F.normalize(F.embedding(index, rows.float()), dim=2)
        centre = F.normalize(anchors.float() @ targets.float(), dim=1)
        positive = (anchor * centre[:, None]).sum(2) / temperature
        places, any_negative = bank.draw(uniform[:, : index.shape[1]])
        scale = bank.rows.new_full((len(bank.rows),), 1 / temperature)
        negative = negatives_logsumexp(anchor.flatten(0, 1), bank.rows, scale, places.flatten(0, 1)).view_as(positive)
        active = there & any_negative[:, None]
        count = active.sum(1)
        of_class = torch.where(active, F.softplus(negative - positive), 0).sum(1) / count.clamp(min=1)
        return of_class.sum() / (count > 0).sum().clamp(min=1)
