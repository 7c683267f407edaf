"""Whole training steps of ReCo's code beside ours, in float64, and the learning rate."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.seeds import derive, rng
from bench.spec.sections import Optimizer
from bench.train.optim import learning_rate, make_optimizer, set_learning_rate
from methods import mixing
from methods.base import Batch, Labelled, Unlabelled
from methods.losses import reco as ours
from tests.parity.checkouts import imported
from tests.parity.reco import (
    CLASSES,
    KEYS,
    MEAN,
    QUERIES,
    STD,
    STEPS,
    Found,
    apart,
    in_float64,
    labels,
    relative,
    their_contrast,
    theirs,
)
from tests.parity.reco_network import build_networks, share


class Unchanged:
    """A strong view that changes nothing: what is compared is everything around it."""

    def geometric(self, image: Tensor, *maps: tuple[Tensor, float]) -> tuple[Tensor, ...]:
        return (image, *(values for values, _ in maps))

    def photometric(self, image: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        return (image, *maps)

    def warp(self, maps: Tensor) -> Tensor:
        return maps


class TheirSteps:
    """Their training step: the calls of ``train_semisup.py``, with our draws."""

    def __init__(self, module: ModuleType, network: nn.Module) -> None:
        self.module, self.network = module, network.train()
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=2.5e-3, weight_decay=5e-4, momentum=0.9, nesterov=True
        )
        self.ema = module.EMA(network, 0.99)
        self.ema.model.train()

    def take(self, batch: Batch) -> float:
        """Take a step on a batch; return the loss."""
        assert batch.unlabelled is not None
        module, label = self.module, theirs(batch.labelled.label)
        image, weak = ((x - MEAN.double()) / STD.double() for x in (batch.labelled.image, batch.unlabelled.weak))
        self.optimizer.zero_grad()
        with torch.no_grad():
            raw = self._large(self.ema.model(weak)[0], label)
            confidence, pseudo = torch.softmax(raw, 1).max(1)
            keep = iter(mixing.class_mask(pseudo, rng(batch.seed, "mix")).double())
            kept, module.generate_class_mask = module.generate_class_mask, lambda _: next(keep)  # type: ignore[attr-defined]
            strong, pseudo, confidence = module.generate_unsup_data(weak, pseudo, confidence, mode="classmix")
            module.generate_class_mask = kept  # type: ignore[attr-defined]
        (scores, features), (scores_u, features_u) = self.network(image), self.network(strong)
        loss = module.compute_supervised_loss(self._large(scores, label), label)
        loss = loss + module.compute_unsupervised_loss(self._large(scores_u, label), pseudo, confidence, 0.2)
        loss = loss + self._contrast(batch, (scores, scores_u), (features, features_u), (pseudo, confidence))
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.ema.update(self.network)
        return float(loss.detach())

    @staticmethod
    def _large(scores: Tensor, label: Tensor) -> Tensor:
        return F.interpolate(scores, size=label.shape[1:], mode="bilinear", align_corners=True)

    def _contrast(
        self,
        batch: Batch,
        scores: tuple[Tensor, Tensor],
        features: tuple[Tensor, Tensor],
        pseudo: tuple[Tensor, Tensor],
    ) -> Tensor:
        every = torch.cat(scores)
        label, (target, confidence), size = batch.labelled.label, pseudo, every.shape[2:]
        both = torch.cat((label, target))
        sure = torch.cat(((label != 255).double(), (confidence >= 0.2).double()))
        small, valid = (F.interpolate(x[:, None].double(), size=size, mode="nearest")[:, 0] for x in (both, sure))
        draws = ours.draw(CLASSES, QUERIES, KEYS, seed=derive(batch.seed, "reco"))
        probability = every.detach().softmax(1)
        return their_contrast(self.module, torch.cat(features), small.long(), valid > 0, probability, draws)


def steps() -> Found:
    """Take 20 whole steps of ReCo on ClassMix in float64, with shared batches, mixing masks and samples.

    Each step starts from their weights: in an untrained network a rounding of 1e-16 grows a thousandfold a step, whoever's
    code it is. Momentum is each one's own. Their schedule changes the rate every 200 steps; it is compared in
    :func:`schedule`.
    """
    network, method = build_networks()
    config, most = Optimizer(), dict.fromkeys(("loss", "student", "teacher"), 0.0)
    with imported("reco", "module_list") as (module,), in_float64():
        others = TheirSteps(module, network)
        optimizer = make_optimizer(config, method.train())
        for step in range(STEPS):
            batch = _batch(step)
            set_learning_rate(optimizer, learning_rate(config, step, 40_000))
            optimizer.zero_grad()
            loss = sum(method.losses(batch).values(), torch.zeros((), dtype=torch.float64))
            torch.autograd.backward(loss)
            optimizer.step()
            method.after_step(step)
            found = {"loss": relative(float(loss.detach()), others.take(batch))}
            found["student"] = max(map(apart, _student(method), network.parameters()))
            found["teacher"] = max(map(apart, method.base.teacher.model.parameters(), others.ema.model.parameters()))
            most = {what: max(value, found[what]) for what, value in most.items()}
            share(method, network, others.ema.model)
    return {f"{what}, {STEPS} steps": value for what, value in most.items()}


def _student(method: Any) -> list[Tensor]:
    return [*method.base.student.parameters(), *method.representation.parameters()]


def schedule() -> Found:
    """Compare the learning rate of 40,000 iterations, theirs by 200 epochs of 200 steps."""
    with imported("reco", "module_list") as (module,):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.5e-3)
        others, config, most = module.PolyLR(optimizer, 200, power=0.9), Optimizer(), 0.0
        for epoch in range(200):
            most = max(most, relative(optimizer.param_groups[0]["lr"], learning_rate(config, 200 * epoch, 40_000)))
            optimizer.step()
            others.step()
    return {"learning rate": most}


def _batch(step: int) -> Batch:
    generator = torch.Generator().manual_seed(100 + step)
    image, weak = (torch.rand(2, 3, 33, 41, dtype=torch.float64, generator=generator) for _ in range(2))
    label = labels((2, 33, 41), 200 + step)
    return Batch(step, 40_000, derive(step, "parity"), Labelled(image, label), Unlabelled(weak, (Unchanged(),)))
