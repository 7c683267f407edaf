from __future__ import annotations

from typing import Literal, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torchvision.models import get_model
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.ops import SqueezeExcitation
from torchvision.transforms.functional import normalize

from bench.errors import BenchError
from bench.registry import get
from methods.base import IMAGENET_MEAN, IMAGENET_STD
from methods.networks.backbone import Stages
from methods.networks.backbones import build_backbone
from methods.networks.deeplabv3plus import DeepLabV3Plus, DeepLabV3PlusConfig
from methods.networks.torchvision_backbones import BackboneName

NAMES: tuple[BackboneName, ...] = get_args(BackboneName)
# backbone: channels at stride 4 and at the end, pyramid width, projection width
WIDTHS = {
    "resnet18": (64, 512, 256, 48),
    "resnet34": (64, 512, 256, 48),
    "resnet50": (256, 2048, 256, 48),
    "resnet101": (256, 2048, 256, 48),
    "resnet50-deepstem": (256, 2048, 256, 48),
    "resnet101-deepstem": (256, 2048, 256, 48),
    "mobilenet_v3_large": (24, 960, 256, 48),
    "tiny": (24, 64, 48, 24),
}


def build(backbone: BackboneName = "tiny", output_stride: Literal[8, 16] = 16, classes: int = 5) -> DeepLabV3Plus:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DeepLabV3Plus(DeepLabV3PlusConfig(backbone=backbone, output_stride=output_stride), classes)


def images(height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("backbone", NAMES)
def test_output_stride(backbone: BackboneName, output_stride: Literal[8, 16]) -> None:
    net = build(backbone, output_stride).eval()
    with torch.no_grad():
        stages = net.backbone(images(96, 64))
        features = net.features(images(65, 49))
        scores = net.classify(features)
    strides = [4, 8, min(16, output_stride), output_stride]
    assert [s.shape for s in stages] == [
        (2, c, 96 // s, 64 // s) for c, s in zip(net.backbone.channels, strides, strict=True)
    ]
    assert features.shape == (2, net.feature_channels, 17, 13)  # a quarter, rounded up
    assert scores.shape == (2, 5, 17, 13)
    assert net.num_classes == 5


@pytest.mark.parametrize("backbone", NAMES)
def test_parameter_count_by_hand(backbone: BackboneName) -> None:
    low, high, pyramid, projection = WIDTHS[backbone]
    if backbone == "tiny":
        stem, widths = 16, (24, 48, 64, 64)
        pairs = zip((stem, *widths), widths, strict=False)
        body = 27 * stem + 2 * stem + sum(9 * a * b + 9 * b * b + a * b + 3 * 2 * b for a, b in pairs)
    else:
        whole = get_model(backbone.removesuffix("-deepstem"), weights=None)
        head = whole.get_submodule("classifier" if backbone.startswith("mobile") else "fc")
        body = count(whole) - count(head)
        if backbone.endswith(
            "-deepstem"
        ):  # three 3x3 convolutions for one of 7x7, and 128 channels into the first block
            body += 9 * (3 * 64 + 64 * 64 + 64 * 128) + 2 * (64 + 64) + 2 * 128 - 49 * 3 * 64 - 2 * 64
            body += 64 * 64 + 64 * 256
    aspp = (2 + 3 * 9) * high * pyramid + 5 * pyramid * pyramid + 6 * 2 * pyramid
    features = pyramid + projection
    decoder = low * projection + 2 * projection + 9 * features * pyramid + 2 * pyramid + 5 * pyramid + 5
    net = build(backbone)
    assert net.feature_channels == features
    assert count(net) == body + aspp + decoder


@pytest.mark.parametrize(("output_stride", "replace"), [(16, [False, False, True]), (8, [False, True, True])])
def test_dilated_resnet50_equals_torchvision(output_stride: Literal[8, 16], replace: list[bool]) -> None:
    reference = get_model("resnet50", weights=None, replace_stride_with_dilation=replace).eval()
    own = build_backbone("resnet50", output_stride).eval()
    own.load_state_dict({f"stages.{k}": v for k, v in _by_stage(reference).items()})
    x = normalize(images(), IMAGENET_MEAN, IMAGENET_STD)
    with torch.no_grad():
        for name, layer in list(reference.named_children())[:-2]:
            x = layer(x)
            assert name != "fc"
        torch.testing.assert_close(own(images())[3], x)


def _by_stage(resnet: nn.Module) -> dict[str, torch.Tensor]:
    stem = ("conv1", "bn1", "relu", "maxpool", "layer1")
    place = {name: f"0.{i}" for i, name in enumerate(stem)} | {f"layer{i}": f"{i - 1}" for i in (2, 3, 4)}
    split = ((key.split(".", 1), value) for key, value in resnet.state_dict().items())
    return {f"{place[head]}.{tail}": value for (head, tail), value in split if head != "fc"}


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v3_large", "tiny"])
def test_dilation_computes_the_strided_network_everywhere(
    backbone: BackboneName, output_stride: Literal[8, 16]
) -> None:
    """A dilated network holds the strided one's outputs at every second (fourth) position."""
    strided, dilated = build_backbone(backbone, 32).eval(), build_backbone(backbone, output_stride).eval()
    dilated.load_state_dict(strided.state_dict())
    for net in (strided, dilated):
        for block in net.modules():  # squeeze-and-excitation pools over all positions, so it is left out here
            for name, child in block.named_children():
                if isinstance(child, SqueezeExcitation):
                    setattr(block, name, nn.Identity())
    every = 32 // output_stride
    with torch.no_grad():
        expected, got = strided(images())[3], dilated(images())[3]
    assert expected.std() > 0
    torch.testing.assert_close(got[:, :, ::every, ::every], expected)


@pytest.mark.parametrize(("output_stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_pyramid_equals_torchvision(output_stride: Literal[8, 16], rates: list[int]) -> None:
    net = build("resnet18", output_stride).eval()
    reference = ASPP(512, rates).eval()
    pairs = zip(reference.state_dict(), net.pyramid.state_dict().values(), strict=True)
    reference.load_state_dict(dict(pairs))
    x = torch.randn(2, 512, 9, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net.pyramid(x), reference(x))


def test_images_are_normalised_inside() -> None:
    net = build().eval()
    x = normalize(images(), IMAGENET_MEAN, IMAGENET_STD)
    assert isinstance(net.backbone, Stages)
    with torch.no_grad():
        for stage, got in zip(net.backbone.stages, net.backbone(images()), strict=True):
            x = stage(x)
            torch.testing.assert_close(got, x)


def test_forward_and_gradients_everywhere() -> None:
    net = build()
    out = net(images())
    out.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any(), name
    net.eval()
    with torch.no_grad():
        assert torch.equal(net(images()), net.classify(net.features(images())))


def test_channels_last_and_autocast() -> None:
    net = build().eval()
    with torch.no_grad():
        plain = net(images())
        last = net.to(memory_format=torch.channels_last)(images().to(memory_format=torch.channels_last))
        with torch.autocast("cpu", torch.bfloat16):
            low = net(images())
            assert net.features(images()).dtype == torch.bfloat16
    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)
    assert (low.float() - plain).abs().max() < 0.05 * plain.abs().max()


def test_one_image_cannot_be_trained_on() -> None:
    net = build()
    with pytest.raises(BenchError, match="at least 2 images"):
        net(images()[:1])
    net.eval()(images()[:1])


def test_registered_and_strict() -> None:
    assert get("network", "deeplabv3plus") is DeepLabV3Plus
    with pytest.raises(ValidationError):
        DeepLabV3PlusConfig.model_validate({"backbone": "resnet19"})
    with pytest.raises(ValidationError):
        DeepLabV3PlusConfig.model_validate({"output_stride": 4})
