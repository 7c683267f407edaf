"""Dense pixel-to-pixel supervised contrast: the O(pixels²) baseline that sparse sampling is measured against.

Source: Wang et al., "Exploring Cross-Image Pixel Contrast for Semantic Segmentation", ICCV 2021, equation 3, without its
memory bank. The P × P matrix is materialised on purpose: its memory is what the baseline shows. Shapes never depend on
the data; pixels that take no part are masked.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -1


def pixel_contrast_loss(
    representation: Tensor,
    label: Tensor,
    valid: Tensor,
    *,
    temperature: float,
    num_pixels: int | None = None,
    uniform: Tensor | None = None,
) -> Tensor:
    """Return the loss, a scalar in float32 (float64 for float64 input); 0 within the graph where no pixel has a partner.

    For an anchor pixel i and each other pixel p of its class: -log(e(i, p) / (e(i, p) + the sum of e(i, n) over all
    pixels n of other classes)), e being exp(cosine / temperature); mean over p, then over the anchors that have a p.
    Every valid pixel is anchor, positive and negative, and all of them carry gradient.

    Args:
        representation: (B, D, h, w).
        label: (B, h, w) int64, 0 or larger where valid.
        valid: (B, h, w) bool.
        temperature: of the softmax.
        num_pixels: contrast only this many pixels, drawn from the valid ones without replacement; None for all.
        uniform: (B·h·w,) random numbers in [0, 1) for that draw; needed with `num_pixels`.

    Raises:
        ValueError: if `num_pixels` is given without `uniform`.
    """
    with torch.autocast(representation.device.type, enabled=False):
        rows = representation.permute(0, 2, 3, 1).flatten(0, 2)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        group = torch.where(valid, label, IGNORED).flatten()
        if num_pixels is not None:
            chosen = _draw(group, num_pixels, uniform)
            rows, group = rows[chosen], group[chosen]
        return _contrast(F.normalize(rows, dim=1, eps=1e-8), group, temperature)


def _draw(group: Tensor, number: int, uniform: Tensor | None) -> Tensor:
    """Return the indices of `number` pixels in random order, valid ones first."""
    if uniform is None:
        raise ValueError("num_pixels needs uniform, one random number per pixel")
    return torch.where(group == IGNORED, 2, uniform).argsort(stable=True)[:number]


def _contrast(unit: Tensor, group: Tensor, temperature: float) -> Tensor:
    logits = unit @ unit.T / temperature
    used = group != IGNORED
    same = group.unsqueeze(1) == group
    negative = used & ~same
    positive = same & used & ~torch.eye(len(group), dtype=torch.bool, device=group.device)
    # The smallest finite number instead of -inf: an anchor without negatives must not give NaN gradients.
    other = logits.masked_fill(~negative, torch.finfo(logits.dtype).min).logsumexp(1, keepdim=True)
    partners = positive.sum(1)
    anchor = torch.where(positive, F.softplus(other - logits), 0).sum(1) / partners.clamp_min(1)
    return anchor.sum() / (partners > 0).sum().clamp_min(1)
