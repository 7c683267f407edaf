"""ClassMix's and French et al.'s released code beside ours, as far as it can be imported without a GPU."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.seeds import rng
from methods import mixing
from methods.ema import Ema
from methods.losses.segmentation import pseudo_label_loss
from tests.parity.checkouts import from_file
from tests.parity.reco import CLASSES, Found, apart, in_float64, labels, relative


def classmix_loss() -> Found:
    """Compare ClassMix's unlabelled loss: cross-entropy times the batch's share of confident pixels."""
    module = from_file("classmix", "utils/loss.py")
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, CLASSES, 9, 11, dtype=torch.float64, generator=generator)
    label, confidence = labels((2, 33, 41), 1, void=0), torch.rand(2, 33, 41, dtype=torch.float64, generator=generator)

    def theirs(x: Tensor) -> Tensor:
        large = F.interpolate(x, size=label.shape[1:], mode="bilinear", align_corners=True)
        weight = confidence.ge(0.968).sum().item() / label.numel()
        value: Tensor = module.CrossEntropyLoss2dPixelWiseWeighted()(large, label, weight * torch.ones_like(confidence))
        return value

    with in_float64():
        mine = pseudo_label_loss(scores, label, confidence, 0.968, "valid", "batch")
    return {"ClassMix loss": relative(float(mine), float(theirs(scores)))}


def classmix_mask() -> Found:
    """Count pixels in which masks of the same drawn classes differ."""
    module = from_file_with_scipy("utils/transformmasks.py")
    label = labels((6, 20, 24), 3, void=0)
    keep = mixing.class_mask(label, rng(0, "mix"), draw_void=False)
    differing = 0
    for image, mask in zip(label, keep, strict=True):
        theirs = module.generate_class_mask(image, image[mask].unique())
        differing += int((theirs.bool() != mask).sum())
    return {"ClassMix mask, pixels that differ": float(differing)}


def from_file_with_scipy(file: str) -> ModuleType:
    """Import a file that names modules of SciPy by their old places."""
    import sys

    import scipy.ndimage

    for old in ("interpolation", "filters"):
        sys.modules.setdefault(f"scipy.ndimage.{old}", scipy.ndimage)
    return from_file("classmix", file)


def teacher() -> Found:
    """Compare French et al.'s moving average with ours under the policy ``average``, after the warm-up that ours has."""
    module = from_file("cutmix-semisup-seg", "optim_weight_ema.py")
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    mine = Ema(student, 0.99, "average")
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    theirs = module.EMAWeightOptimizer(other, student, 0.99)
    for step in range(1_000, 1_020):
        with torch.no_grad():
            for p in student.parameters():
                p.add_(torch.randn_like(p))
            student(torch.randn(2, 3, 8, 8))
        mine.update(student, step)
        theirs.step()
    pairs = zip(mine.model.state_dict().items(), other.state_dict().values(), strict=True)
    return {"moving average": max(apart(a, b) for (key, a), b in pairs if "num_batches" not in key)}
