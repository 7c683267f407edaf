"""The blocks of `tiny` are torchvision's, layer by layer."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from methods.networks.torchvision_backbones import _Residual


def test_a_block_is_torchvisions() -> None:
    shortcut = nn.Sequential(nn.Conv2d(5, 7, 1, 2, bias=False), nn.BatchNorm2d(7))
    theirs, ours = BasicBlock(5, 7, 2, shortcut), _Residual(5, 7, 2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 5, 9, 11, generator=torch.Generator().manual_seed(0))
    outputs = [block(image.clone()) for block in (theirs, ours)]
    assert torch.equal(*outputs)
    gradients = [
        torch.autograd.grad(out.square().sum(), list(b.parameters()))
        for out, b in zip(outputs, (theirs, ours), strict=True)
    ]
    assert all(map(torch.equal, *gradients))
    assert all(map(torch.equal, theirs.state_dict().values(), ours.state_dict().values()))
