"""Frozen batch normalisation and frozen stages, against the same network with nothing folded."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from methods.ema import Ema
from methods.networks.backbone import Backbone
from methods.networks.backbones import build_backbone
from methods.networks.fixed import FoldedConv, fix

NAMES = ("resnet18", "mobilenet_v3_large", "resnet50-deepstem", "timm/test_efficientnet", "timm/mobilevit_xxs")


@pytest.fixture(autouse=True)
def in_double() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def image() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def trained(name: str) -> Backbone:
    """Return a backbone whose normalisations differ from those of a new one."""
    net = build_backbone(name, 32)
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_var, 0.5)):
                tensor.data.uniform_(low, low + 1, generator=generator)
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
    return net


@pytest.mark.parametrize("name", NAMES)
def test_folded_normalisation_is_the_same_function_with_the_same_gradients(name: str) -> None:
    plain, folded = trained(name), None
    folded = copy.deepcopy(plain)
    fix(folded, "frozen", 0)
    plain.eval()
    folded.train()  # which must not bring anything back to life; there is no dropout in these
    assert sum(isinstance(m, FoldedConv) for m in folded.modules()) > 5
    before = [b.clone() for b in folded.buffers()]
    for net in (plain, folded):
        sum((x.square().mean() for x in net(image())), torch.tensor(0.0)).backward()
    with torch.no_grad():
        for a, b in zip(plain(image()), folded(image()), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(before, folded.buffers(), strict=True))
    gradients = {tuple(p.shape): [] for p in folded.parameters()}  # type: ignore[var-annotated]
    for p in folded.parameters():
        if p.requires_grad:
            gradients[tuple(p.shape)].append(p.grad)
    norms = {id(p) for m in plain.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    others = [p for p in plain.parameters() if id(p) not in norms]
    assert len(others) == sum(p.requires_grad for p in folded.parameters())
    for p in others:
        assert p.grad is not None
        want, known = p.grad, gradients[tuple(p.shape)]
        assert any(torch.allclose(want, got, rtol=1e-7, atol=1e-10) for got in known)


@pytest.mark.parametrize("name", ["resnet18", "timm/test_efficientnet"])
@pytest.mark.parametrize("stages", [1, 2, 4])
def test_frozen_stages_are_what_their_output_depends_on(name: str, stages: int) -> None:
    """By brute force: a weight belongs to them if changing it changes the output of the last of them."""
    net = trained(name).eval()
    fix(net, "train", stages)
    with torch.no_grad():
        before = net(image())[stages - 1]
        for key, p in net.named_parameters():
            kept = p.clone()
            p.add_(torch.rand(p.shape, generator=torch.Generator().manual_seed(2)))
            changes = not torch.equal(net(image())[stages - 1], before)
            p.copy_(kept)
            assert changes != p.requires_grad, key


def test_frozen_stages_keep_their_statistics_and_the_others_do_not() -> None:
    net = trained("resnet18")
    fix(net, "train", 2)
    net.train()
    before = {key: b.clone() for key, b in net.named_buffers()}
    net(image())
    changed = {key for key, b in net.named_buffers() if not torch.equal(b, before[key])}
    assert changed and all(key.startswith(("stages.2", "stages.3")) for key in changed)
    assert {key.split(".")[1] for key in changed} == {"2", "3"}


def test_a_teacher_of_it_has_its_own_fixed_modules() -> None:
    net = trained("resnet18")
    fix(net, "train", 2)
    teacher = Ema(net, 0.9)
    own = set(map(id, teacher.model.modules()))
    assert teacher.model.fixed and all(id(module) in own for module in teacher.model.fixed)  # type: ignore[union-attr]
    teacher.train()
    norm = next(m for m in teacher.model.modules() if isinstance(m, nn.BatchNorm2d))
    assert not norm.training


def test_nothing_is_fixed_by_default() -> None:
    net = build_backbone("resnet18", 32)
    assert net.fixed == () and all(p.requires_grad for p in net.parameters())
    assert net.train().training and all(m.training for m in net.modules())
