"""ReCo's released code beside ours: losses, network, label splits, mIoU, and whole steps in float64 with shared draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.seeds import rng
from methods.losses import reco as ours
from methods.losses.segmentation import cross_entropy, pseudo_label_loss
from tests.methods.losses.sampled import sample_indices
from tests.parity.checkouts import imported

CLASSES, QUERIES, KEYS, STEPS = 6, 16, 24, 20
MEAN, STD = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
Found = dict[str, float]


def apart(a: Tensor, b: Tensor) -> float:
    """Return the greatest absolute difference."""
    return float((a.detach().double() - b.detach().double()).abs().max())


def relative(a: float, b: float) -> float:
    """Return the difference of two numbers as a share of the larger one."""
    return abs(a - b) / max(abs(a), abs(b), 1e-300)


def labels(shape: tuple[int, ...], seed: int, void: float = 0.1) -> Tensor:
    """Return class indices, 255 where void."""
    draw = rng(seed, "parity", "labels")
    found = draw.integers(0, CLASSES, shape)
    return torch.from_numpy(np.where(draw.random(shape) < void, 255, found))


def theirs(label: Tensor) -> Tensor:
    """Return labels as their code has them: -1 where void."""
    return torch.where(label == 255, -1, label)


@contextmanager
def in_float64() -> Iterator[None]:
    """Keep float64 where our losses ask for float32, which they do so that autocast doesn't reach them."""
    kept: Any = Tensor.float
    setattr(Tensor, "float", lambda self: self if self.dtype == torch.float64 else kept(self))  # noqa: B010
    try:
        yield
    finally:
        setattr(Tensor, "float", kept)  # noqa: B010


# -- losses ----------------------------------------------------------------------------------------------------------------


def losses() -> Found:
    """Compare value and gradient of the three losses on random inputs, in float64."""
    with imported("reco", "module_list") as (module,), in_float64():
        found = _segmentation_losses(module)
        return {**found, **_contrast(module)}


def _gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    x = at.clone().requires_grad_()
    value = loss(x)
    torch.autograd.backward(value)
    assert x.grad is not None
    return value, x.grad


def _segmentation_losses(module: ModuleType) -> Found:
    generator = torch.Generator().manual_seed(0)
    small = torch.randn(4, CLASSES, 9, 11, dtype=torch.float64, generator=generator)
    label, confidence = labels((4, 33, 41), 1), torch.rand(4, 33, 41, dtype=torch.float64, generator=generator)
    confidence[label == 255] = 0

    def large(x: Tensor) -> Tensor:
        return F.interpolate(x, size=label.shape[1:], mode="bilinear", align_corners=True)

    pairs: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
        "supervised": (
            lambda x: cross_entropy(x, label),
            lambda x: module.compute_supervised_loss(large(x), theirs(label)),
        ),
        "unsupervised": (
            lambda x: pseudo_label_loss(x, label, confidence, 0.7),
            lambda x: module.compute_unsupervised_loss(large(x), theirs(label), confidence, 0.7),
        ),
    }
    found = {}
    for name, (mine, other) in pairs.items():
        (value, gradient), (value_, gradient_) = _gradient(mine, small), _gradient(other, small)
        found[f"{name} loss"] = relative(float(value.detach()), float(value_.detach()))
        found[f"{name} gradient"] = apart(gradient, gradient_)
    return found


@contextmanager
def shared_samples(module: ModuleType, samples: ours.Samples, chosen: Tensor, hard: Tensor) -> Iterator[None]:
    """Let their contrast sample the pixels that ours sampled.

    Args:
        module: their ``module_list``.
        samples: ours, pixels of all images one after the other.
        chosen: (P, K) bool, the valid pixels of each class.
        hard: the same of those that may be queries.
    """
    present = [k for k in range(chosen.shape[1]) if chosen[:, k].any()]
    turns = iter([k for k in present if hard[:, k].any()])
    again = iter([k for k in present if hard[:, k].any()])

    def rank(pixels: Tensor, among: Tensor) -> Tensor:
        return (among.cumsum(0) - 1)[pixels.long()]

    def randint(_: int, size: tuple[int, ...]) -> Tensor:
        k = next(turns)
        assert size == (samples.query.shape[1],)
        return rank(samples.query[k], hard[:, k])

    def negatives(_: Tensor, counts: list[int]) -> list[int]:
        k = next(again)
        place = present.index(k)
        order = [*present[place + 1 :], *present[:place]]
        starts = np.cumsum([0, *counts[:-1]])
        pixels = samples.negative[k].long().flatten()
        out = torch.full_like(pixels, -1)
        for other, start in zip(order, starts, strict=True):
            inside = chosen[pixels, other]
            out[inside] = rank(pixels[inside], chosen[:, other]) + int(start)
        assert bool((out >= 0).all())
        return cast("list[int]", out.tolist())

    kept = torch.randint, module.negative_index_sampler
    torch.randint, module.negative_index_sampler = randint, negatives  # type: ignore[assignment, attr-defined]
    try:
        yield
    finally:
        torch.randint, module.negative_index_sampler = kept  # type: ignore[attr-defined]


def their_contrast(
    module: ModuleType, features: Tensor, label: Tensor, valid: Tensor, probability: Tensor, draws: ours.Draws
) -> Tensor:
    """Return their loss of contrast on the pixels that ours samples.

    Args:
        module: their ``module_list``.
        features: (B, D, h, w).
        label: (B, h, w), 255 where void.
        valid: (B, h, w) bool, confident enough.
        probability: (B, K, h, w).
        draws: our random numbers.
    """
    valid = valid & (label != 255)
    onehot = module.label_onehot(theirs(label), CLASSES).to(features.dtype)
    chosen = ((onehot > 0) & valid[:, None]).permute(0, 2, 3, 1).reshape(-1, CLASSES)
    hard = chosen & (probability < 0.97).permute(0, 2, 3, 1).reshape(-1, CLASSES)
    samples = sample_indices(features, label, valid, probability, draws, strong_threshold=0.97, temperature=0.5)
    mask = valid[:, None].to(features.dtype)
    with shared_samples(module, samples, chosen, hard):
        loss: Tensor = module.compute_reco_loss(features, onehot, mask, probability, 0.97, 0.5, QUERIES, KEYS)
    return loss


def _contrast(module: ModuleType) -> Found:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(3, 12, 10, 13, dtype=torch.float64, generator=generator)
    probability = (6 * torch.randn(3, CLASSES, 10, 13, dtype=torch.float64, generator=generator)).softmax(1)
    label = labels((3, 10, 13), 3)
    label[label == 4] = 0  # a class that is absent
    valid = torch.rand(3, 10, 13, generator=generator) > 0.3
    draws = ours.draw(CLASSES, QUERIES, KEYS, seed=5)

    def mine(x: Tensor) -> Tensor:
        return ours.reco_loss(x, label, valid, probability, draws, strong_threshold=0.97, temperature=0.5)

    (value, gradient) = _gradient(mine, features)
    (value_, gradient_) = _gradient(lambda x: their_contrast(module, x, label, valid, probability, draws), features)
    off = relative(float(value.detach()), float(value_.detach()))
    return {"contrast loss": off, "contrast gradient": apart(gradient, gradient_)}
