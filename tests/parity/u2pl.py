"""The losses of the U2PL authors' released `loss_helper.py` beside ours: on reliable labels, and the contrast with a bank.

Which pixels are anchors and negatives differs on purpose (``docs/differences.md``): here all pixels of a class are anchors,
and the banks are filled by hand, so that the two compute the same thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.losses import u2pl
from methods.losses.memory_bank import MemoryBank
from methods.u2pl import flat
from tests.parity.checkouts import imported
from tests.parity.reco import CLASSES, Found, apart, in_float64, labels, relative
from tests.parity.stand_ins import modules, one_process_on_the_host

WIDTH, EACH, KEPT, TEMPERATURE = 16, 6, 40, 0.5  # of a representation; pixels of a class; negatives of a class


def _alone(found: list[Any], own: Any) -> None:
    """Stand in for a gathering of all processes: there is one."""
    found[0] = own


@contextmanager
def released() -> Iterator[ModuleType]:
    """Import their losses, on the host, in one process."""
    alone = patch.object(torch.distributed, "all_gather_object", _alone)
    images = modules({"skimage": {}, "skimage.measure": {"label": None, "regionprops": None}})
    with images, one_process_on_the_host(), alone, imported("u2pl", "u2pl.utils.loss_helper") as (module,):
        yield module


def reliable() -> Found:
    """Compare the loss on the labels of the pixels of least entropy, and its gradient."""
    draw = torch.Generator().manual_seed(0)
    scores, teacher = (torch.randn(2, CLASSES, 20, 20, dtype=torch.float64, generator=draw) for _ in range(2))
    label = labels((2, 20, 20), 1, void=0)
    label.flatten()[:9] = 255  # 791 pixels count: a share of a fifth ends at one of them, not between two
    sides = [scores.clone().requires_grad_() for _ in range(2)]
    with released() as module:
        theirs = module.compute_unsupervised_loss(sides[0], label.clone(), 80.0, teacher)
    with in_float64():
        doubt = u2pl.entropy(teacher.softmax(1))
        kept = doubt < u2pl.bar_at(doubt, label != 255, 0.2)
        mine = u2pl.reliable_loss(sides[1], label, kept)
    gradients = [torch.autograd.grad(value, side)[0] for value, side in zip((theirs, mine), sides, strict=True)]
    return {"U2PL reliable loss": relative(mine.item(), theirs.item()), "… gradient": apart(*gradients)}


def contrast() -> Found:
    """Compare the contrastive loss, and its gradient, on the same anchors and the same negatives."""
    draw = torch.Generator().manual_seed(0)
    pixels = CLASSES * EACH
    label = torch.arange(pixels).remainder(CLASSES)[torch.randperm(pixels, generator=draw)].view(1, 1, pixels)
    rows, targets = (torch.randn(1, WIDTH, 1, pixels, dtype=torch.float64, generator=draw) for _ in range(2))
    negatives = torch.randn(CLASSES, KEPT, WIDTH, dtype=torch.float64, generator=draw)
    sides = [rows.clone().requires_grad_() for _ in range(2)]
    losses = [side(x, targets, label, negatives) for side, x in zip((_theirs, _ours), sides, strict=True)]
    gradients = [torch.autograd.grad(value, x)[0] for value, x in zip(losses, sides, strict=True)]
    return {"U2PL contrast": relative(*(loss.item() for loss in losses)), "… gradient": apart(*gradients)}


def _ours(rows: Tensor, targets: Tensor, label: Tensor, negatives: Tensor) -> Tensor:
    bank = MemoryBank(CLASSES, KEPT, WIDTH)
    bank.rows.view(CLASSES, KEPT + 1, WIDTH)[:, :KEPT] = F.normalize(negatives, dim=2)
    bank.written += KEPT
    all_of_it = ((torch.arange(KEPT) + 0.5) / KEPT).expand(CLASSES, EACH, KEPT)
    own = label.flatten() == torch.arange(CLASSES)[:, None]
    order = torch.rand(label.numel(), generator=torch.Generator().manual_seed(1))
    return u2pl.contrast(flat(rows), flat(targets), own, bank, order, all_of_it, TEMPERATURE)  # in float32


def _theirs(rows: Tensor, targets: Tensor, label: Tensor, negatives: Tensor) -> Tensor:
    ones = F.one_hot(label, CLASSES).permute(0, 3, 1, 2)
    config = {
        **{"current_class_threshold": 0.0, "current_class_negative_threshold": 1, "low_rank": 3, "high_rank": 20},
        **{"temperature": TEMPERATURE, "num_queries": EACH, "num_negatives": KEPT},
    }

    def all_of_them(count: int, *, size: tuple[int]) -> Tensor:
        return torch.arange(size[0]).remainder(count)

    with released() as module, patch.object(torch, "randint", all_of_them):
        banks = [[one.clone()] for one in negatives]
        places = [torch.zeros(1, dtype=torch.long) for _ in negatives]
        empty = ones[:0]
        half = torch.full(ones.shape, 0.5, dtype=torch.float64)
        masks = torch.ones_like(ones), torch.zeros_like(ones)
        sizes = [10 * KEPT] * CLASSES
        _, loss = module.compute_contra_memobank_loss(
            rows, ones, empty, half, half[:0], *masks, config, banks, places, sizes, targets
        )
    found: Tensor = loss
    return found
