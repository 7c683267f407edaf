"""UniMatch's released `fixmatch.py` and `unimatch.py` beside our methods: losses and gradients of whole steps, in float64.

Both sides have the same weights, statistics, batches, boxes and dropped channels.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import registry
from bench.seeds import derive, rng
from methods import mixing
from methods.base import Batch, Build, Labelled, Ohem, Unlabelled
from tests.parity.reco import CLASSES, Found, in_float64, labels, relative
from tests.parity.stand_ins import recording
from tests.parity.unimatch_code import Ready, TheirNetwork, build_network, normalised, run, script

STEPS, IMAGES, SIZE = 2, 2, (33, 41)
LAYERS = (1, 1, 1, 1)  # a shallow ResNet, whose float64 doesn't take long
THRESHOLD = 0.22  # a part of the pixels of a network with random weights reaches it
OHEM = Ohem(0.2, 500)
CRITERIA = {
    "mean": {"name": "CELoss", "kwargs": {"ignore_index": 255}},
    "hard pixels": {
        "name": "OHEM",
        "kwargs": {"ignore_index": 255, "thresh": OHEM.threshold, "min_kept": OHEM.kept},
    },
}


@dataclass(frozen=True)
class Given:
    """A strong view that is there already."""

    image: Tensor

    def geometric(self, image: Tensor, *maps: tuple[Tensor, float]) -> tuple[Tensor, ...]:
        return (image, *(values for values, _ in maps))

    def photometric(self, image: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        return (self.image, *maps)

    def warp(self, maps: Tensor) -> Tensor:
        return maps


def make_images(generator: torch.Generator) -> Tensor:
    """Return smooth random images (B, 3, H, W) in [0, 1], float64."""
    coarse = torch.rand(IMAGES, 3, 9, 11, dtype=torch.float64, generator=generator)
    return F.interpolate(coarse, size=SIZE, mode="bilinear")


def make_batch(step: int, padding: int = 1) -> Batch:
    """Return labelled images, unlabelled ones, and as many to mix with; with padding 1 both are padded in part."""
    generator = torch.Generator().manual_seed(300 + step)

    def unlabelled(partner: Unlabelled | None, rows: int) -> Unlabelled:
        corners = [[0, 0, SIZE[0] - padding * rows * i, SIZE[1] - padding * 4 * step] for i in range(IMAGES)]
        extents = np.array(corners, np.int64)
        views = tuple(Given(make_images(generator)) for _ in range(2))
        return Unlabelled(make_images(generator), views, None, extents, partner)

    labelled = Labelled(make_images(generator), labels((IMAGES, *SIZE), 400 + step))
    return Batch(step, 1_000, derive(step, "parity"), labelled, unlabelled(unlabelled(None, 7), 9))


def as_they_load(unlabelled: Unlabelled | None, seed: int) -> tuple[Tensor, ...]:
    """Return unlabelled images as their loader gives them: the weak view, two strong ones, what is padding, two boxes."""
    assert unlabelled is not None
    strong = [normalised(view.image) for view in unlabelled.strong_views if isinstance(view, Given)]
    draws = [rng(seed, "mix", number) for number in range(2)]
    boxes = [mixing.box_mask("unimatch", IMAGES, *SIZE, draw, torch.device("cpu")).long() for draw in draws]
    return (normalised(unlabelled.weak), *strong, torch.where(unlabelled.inside(), 0, 255), *boxes)


class DrawnDropout(nn.Module):
    """Drops the channels that our draws drop, of the maps in their order."""

    def __init__(self, draw: np.random.Generator, probability: float) -> None:
        super().__init__()
        self.draw, self.probability = draw, probability

    def forward(self, values: Tensor) -> Tensor:
        """Return maps (B, C, h, w) without some of their channels."""
        kept = self.draw.random(values.shape[:2], np.float32) >= self.probability
        return values * torch.from_numpy(kept / (1 - self.probability))[:, :, None, None]


class Released:
    """What a released script does on batches.

    Attributes:
        states: the network's state in front of each step.
        gradients: of each step, by the parameters' identity.
        meters: the values of each of its meters, one a step: the whole loss, its terms, the share of confident pixels.
    """

    def __init__(self, name: str, network: Any, batches: list[Batch], criterion: dict[str, Any]) -> None:
        self.network = network
        self.states: list[dict[str, Tensor]] = []
        self.gradients: list[dict[int, Tensor]] = []
        self.meters: list[list[float]] = []
        self._seeds = iter([batch.seed for batch in batches])
        labelled = [(normalised(batch.labelled.image), batch.labelled.label) for batch in batches]
        own = [as_they_load(batch.unlabelled, batch.seed) for batch in batches]
        partner = [as_they_load(batch.unlabelled and batch.unlabelled.partner, batch.seed) for batch in batches]
        with (
            script(name, network, {"conf_thresh": THRESHOLD, "criterion": criterion, "lr": 1e-4}) as module,
            self._our_draws(),
        ):
            module.__dict__["AverageMeter"] = self._make_meter
            optimizer = recording(torch.optim.SGD, self.gradients)
            run(module, Ready(labelled, before=self._before), Ready(own, partner), optimizer)

    def _before(self) -> None:
        self.states.append(copy.deepcopy(self.network.state_dict()))
        self._draw = rng(next(self._seeds), "features")

    def _make_meter(self) -> SimpleNamespace:
        self.meters.append(values := list[float]())
        return SimpleNamespace(update=values.append, avg=0.0)

    def _our_draws(self) -> AbstractContextManager[Any]:
        dropout = SimpleNamespace(Dropout2d=lambda probability: DrawnDropout(self._draw, probability))
        return patch.dict(type(self.network).forward.__globals__, nn=dropout)


def whole_steps(name: str, criterion: str) -> Found:
    """Take steps of a released script and of our method of that name; return how far they are apart at most."""
    torch.manual_seed(0)
    theirs, other = (build_network(CLASSES, LAYERS).double() for _ in range(2))
    mine = TheirNetwork(other)
    batches, ohem = [make_batch(step) for step in range(STEPS)], OHEM if criterion == "hard pixels" else None
    released = Released(name, theirs, batches, CRITERIA[criterion])
    kind = registry.get("method", name)
    method = kind(kind.Config(threshold=THRESHOLD), Build(CLASSES, lambda: mine, 0, ohem)).double().train()
    most: Found = {}
    for step, batch in enumerate(batches):
        mine.take(released.states[step])
        found = compare(method, batch, [values[step] for values in released.meters])
        gradient = released.gradients[step]
        found["1 - cosine of the gradients"] = 1 - cosine(mine, theirs, gradient)
        most = {what: max(value, most.get(what, 0.0)) for what, value in found.items()}
    return {f"{name}, {criterion}: {what}": value for what, value in most.items()}


def compare(method: Any, batch: Batch, meters: list[float]) -> Found:
    """Return the relative differences of the losses of a step, whose gradients are left in the parameters."""
    method.zero_grad()
    with in_float64():
        terms = method.losses(batch)
        loss = torch.stack(list(terms.values())).sum()
        torch.autograd.backward(loss)
    logged, (whole, supervised, strong, *features, confident) = method.take_logged(), meters
    assert 0.05 < confident < 0.95, f"the threshold tells no pixels apart: {confident:.2f} are confident"
    assert relative(float(logged["confident"]), confident) < 1e-6  # theirs is in float32
    found = {
        "whole loss": relative(float(loss.detach()), whole),
        "supervised": relative(float(terms["supervised"].detach()) * 2, supervised),
        "strong views": relative(float(terms["strong"].detach()) * 2 / method.config.strong_weight, strong),
    }
    if features:
        value = float(terms["features"].detach()) * 2 / method.config.feature_weight
        found["perturbed features"] = relative(value, features[0])
    return found


def cosine(mine: TheirNetwork, theirs: nn.Module, gradient: dict[int, Tensor]) -> float:
    """Return the cosine between our gradients and theirs, of all parameters together."""
    names = {k if k.startswith("classifier.") else f"body.{k}": p for k, p in theirs.named_parameters()}
    pairs = [(p.grad, gradient[id(names[k])]) for k, p in mine.named_parameters()]
    ours, others = (torch.cat([x.flatten() for x in side if x is not None]) for side in zip(*pairs, strict=True))
    return float(F.cosine_similarity(ours, others, dim=0))


def fixmatch() -> Found:
    """Compare FixMatch, with the mean over pixels and with hard ones."""
    return {**whole_steps("fixmatch", "mean"), **whole_steps("fixmatch", "hard pixels")}


def unimatch() -> Found:
    """Compare UniMatch."""
    return whole_steps("unimatch", "mean")
