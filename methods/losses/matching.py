"""Bipartite matching of predicted regions with target regions, with one transfer to the host per call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.transfer import to_device
from methods.torch_private import is_fake


class Matching(NamedTuple):
    """Which region each target got.

    Attributes:
        region: (B, T) int64, index of the region; 0 where there is none.
        matched: (B, T) bool: the target takes part and got a region.
    """

    region: Tensor
    matched: Tensor


def solve(cost: NDArray[Any]) -> NDArray[np.int64]:
    """Return each target's region in the assignment of least total cost, -1 where it has none.

    Args:
        cost: (N, T); a column of infinities is a target that takes no part. NaN counts as very costly, so that a run
            that has diverged fails by its loss, not here.
    """
    from scipy.optimize import linear_sum_assignment  # takes half a second; planning doesn't need it

    region = np.full(cost.shape[1], -1, np.int64)
    present = np.flatnonzero(~np.isposinf(cost).all(0))
    rows, columns = linear_sum_assignment(np.nan_to_num(cost[:, present], nan=1e9, posinf=1e9, neginf=-1e9))
    region[present[columns]] = rows
    return region


def match(costs: Sequence[Tensor]) -> list[Matching]:
    """Match every image of every batch: two transfers in all, the costs to the host and the indices back.

    Fake tensors, with which memory is predicted, hold no costs: every target then counts as matched, the worst case.

    Args:
        costs: batches of costs (B, N, T), infinite for targets that take no part; B, N and T may differ between them.

    Returns:
        A matching for each batch, on the costs' device.
    """
    flat = torch.cat([cost.detach().float().flatten() for cost in costs])
    if is_fake(flat):
        shapes = [(len(cost), cost.shape[2]) for cost in costs]
        return [Matching(flat.new_zeros(s, dtype=torch.int64), flat.new_ones(s, dtype=torch.bool)) for s in shapes]
    host, found, start = flat.cpu().numpy(), [], 0
    for cost in costs:
        end = start + cost.numel()
        found += [solve(one) for one in host[start:end].reshape(cost.shape)]
        start = end
    index = to_device(np.concatenate(found), flat.device)
    parts = torch.split(index, [len(cost) * cost.shape[2] for cost in costs])
    regions = [part.view(len(cost), cost.shape[2]) for part, cost in zip(parts, costs, strict=True)]
    return [Matching(region.clamp(min=0), region >= 0) for region in regions]
