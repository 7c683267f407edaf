"""CPS step by step against plain PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.registry import get
from bench.seeds import rng
from methods.base import Batch, Build, Unlabelled
from methods.cps import CrossPseudoSupervision
from methods.mixing import draw_boxes
from tests.methods.fakes import CLASSES, batch, network


def made(**options: Any) -> CrossPseudoSupervision:
    """Return the method on two networks that start differently, as in a run."""
    seeds = iter(range(2))
    cls = get("method", "cps")
    found = cls(cls.Config(**options), Build(CLASSES, lambda: network(next(seeds)), 0)).train()
    assert isinstance(found, CrossPseudoSupervision)
    return found


def large(logits: Tensor) -> Tensor:
    return F.interpolate(logits, size=(32, 32), mode="bilinear", align_corners=True)


def ce(logits: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(large(logits), label, ignore_index=IGNORE_INDEX)


def with_cutmix(item: Batch, networks: list[Any], roll: bool) -> Tensor:
    """Mix the networks' scores in the boxes, as the paper does, and take the classes after that."""
    unlabelled = item.unlabelled
    assert unlabelled is not None
    inside = torch.zeros(4, 1, 32, 32)
    for i, of_image in enumerate(draw_boxes("cps", 4, 32, 32, rng(item.seed, "mix")).tolist()):
        for top, left, bottom, right in of_image:
            inside[i, :, top:bottom, left:right] = 1 - inside[i, :, top:bottom, left:right]
    partner = unlabelled.weak.roll(-1, 0) if roll else unlabelled.partner.weak  # type: ignore[union-attr]
    labels = []
    with torch.no_grad():
        for each in networks:
            own = large(each(unlabelled.weak))
            other = own.roll(-1, 0) if roll else large(each(partner))
            labels.append((own * (1 - inside) + other * inside).argmax(1))
    image = unlabelled.weak * (1 - inside) + partner * inside
    return ce(networks[0](image), labels[1]) + ce(networks[1](image), labels[0])


def without(item: Batch, networks: list[Any]) -> Tensor:
    """Each learns the other's labels of all images."""
    assert item.unlabelled is not None
    logits = [torch.cat((each(item.labelled.image), each(item.unlabelled.weak))) for each in networks]
    labels = [large(one.detach()).argmax(1) for one in logits]
    return ce(logits[0], labels[1]) + ce(logits[1], labels[0])


@pytest.mark.parametrize("options", [{}, {"partner": "roll"}, {"mix": "none"}])
def test_both_losses_and_every_gradient_step_by_step(options: dict[str, Any]) -> None:
    ours = made(cross_weight=1.5, **options)
    networks = [copy.deepcopy(each) for each in ours.networks]
    item = batch(asks=ours)
    losses = ours.losses(item)
    if options.get("mix") == "none":
        cross = without(item, networks)
        supervised = _sum_of_supervised([copy.deepcopy(each) for each in made().networks], item)
    else:
        cross = with_cutmix(item, networks, roll=bool(options))
        supervised = _sum_of_supervised(networks, item)
    torch.testing.assert_close(losses["supervised"], supervised, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses["cross"], 1.5 * cross, rtol=1e-5, atol=1e-6)
    torch.autograd.backward(losses["cross"])
    torch.autograd.backward(1.5 * cross)
    for own, other in zip(ours.networks, networks, strict=True):
        for p, q in zip(own.parameters(), other.parameters(), strict=True):
            assert p.grad is not None and q.grad is not None
            assert F.cosine_similarity(p.grad.flatten(), q.grad.flatten(), dim=0) > 0.9999


def _sum_of_supervised(networks: list[Any], item: Batch) -> Tensor:
    losses = [ce(each(item.labelled.image), item.labelled.label) for each in networks]
    return losses[0] + losses[1]


def test_two_networks_start_differently_and_the_first_predicts() -> None:
    ours = made()
    assert ours.predictor is ours.student
    pairs = zip(ours.student.parameters(), ours.other.parameters(), strict=True)
    assert any(not torch.equal(p, q) for p, q in pairs)
    assert any(key.startswith("other.") for key in ours.state_dict())


def test_what_the_method_asks_of_the_loader_and_logs() -> None:
    ours = made()
    assert (ours.strong_views, ours.partner_batch) == (0, True)
    assert not made(mix="none").partner_batch
    item = batch(asks=ours)
    assert isinstance(item.unlabelled, Unlabelled) and item.unlabelled.strong_views == ()
    ours.losses(item)
    assert 0 <= float(ours.take_logged()["agreement"]) <= 1
