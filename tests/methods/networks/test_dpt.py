"""DPT against timm's own intermediate features, and a decoder written out in plain PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from pydantic import ValidationError
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from methods.networks.dpt import DPT, DPTConfig
from methods.networks.vit_backbone import VitBackbone, build_vit, resampled, vit_facts

TINY = "timm/test_vit"


def images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def small(**options: Any) -> DPT:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DPT(DPTConfig(backbone=TINY, **options), 5)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_vit", (160, 160)),  # its own grid
        ("test_vit", (96, 48)),
        ("vit_small_patch14_reg4_dinov2", (42, 70)),  # tokens without a place
        ("vit_small_patch14_dinov2", (28, 56)),
    ],
)
def test_tokens_are_timms(name: str, size: tuple[int, int]) -> None:
    own = build_vit(name, (1, 2, 4, 5), "none").eval()
    with torch.no_grad():
        for p in own.net.pos_embed, own.net.cls_token:
            p.normal_()
    reference: Any = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    reference.load_state_dict(own.net.state_dict())
    config: Any = timm.get_pretrained_cfg(name)
    with torch.no_grad():
        expected = reference.forward_intermediates(
            normalize(images(*size), config.mean, config.std), indices=[1, 2, 4, 5], norm=True, intermediates_only=True
        )
        found = own(images(*size))
    assert len(found) == 4
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(10, 10), (6, 13), (37, 4)])
def test_resampled_embeddings_and_their_gradient_are_timms(size: tuple[int, int]) -> None:
    grid = torch.randn(10, 10, 7, requires_grad=True)
    weight = torch.randn(*size, 7)
    expected = resample_abs_pos_embed(grid.flatten(0, 1)[None], list(size), num_prefix_tokens=0)[0].unflatten(0, size)
    found = resampled(grid, size)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    (own,) = torch.autograd.grad((found * weight).sum(), grid)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), grid)
    torch.testing.assert_close(own, wanted, rtol=1e-5, atol=1e-5)


def test_images_are_resized_to_the_nearest_multiple_of_the_patch() -> None:
    net = small().eval()
    with torch.no_grad():
        for given, used in (((45, 70), (48, 64)), ((3, 100), (16, 96))):
            image = normalize(images(*given), [0.5] * 3, [0.25] * 3)
            large = F.interpolate(
                (image - net.backbone.mean) / net.backbone.std, used, mode="bilinear", align_corners=True
            )
            back = large * net.backbone.std + net.backbone.mean
            torch.testing.assert_close(net(image), net(back), rtol=1e-4, atol=1e-4)
            assert net(image).shape == (2, 5, used[0] // 2, used[1] // 2)


def by_hand(net: DPT, maps: list[Tensor]) -> Tensor:
    """The paper's reassembly and fusion, written out."""

    def up(x: Tensor, like: Tensor | None) -> Tensor:
        size = [2 * n for n in x.shape[2:]] if like is None else list(like.shape[2:])
        return F.interpolate(x, size, mode="bilinear", align_corners=True)

    def residual(unit: Any, x: Tensor) -> Tensor:
        inner = F.conv2d(F.relu(x), unit.first.weight, unit.first.bias, padding=1)
        return x + F.conv2d(F.relu(inner), unit.second.weight, unit.second.bias, padding=1)

    scaled = []
    for number, x in enumerate(maps):
        x = F.conv2d(x, net.projects[number].weight, net.projects[number].bias)  # type: ignore[arg-type]
        scale: Any = net.scales[number]
        if number == 0:
            x = F.conv_transpose2d(x, scale.weight, scale.bias, stride=4)
        if number == 1:
            x = F.conv_transpose2d(x, scale.weight, scale.bias, stride=2)
        if number == 3:
            x = F.conv2d(x, scale.weight, scale.bias, stride=2, padding=1)
        scaled.append(F.conv2d(x, net.narrow[number].weight, None, padding=1))  # type: ignore[arg-type]
    path: Tensor | None = None
    for number in (3, 2, 1, 0):
        fusion: Any = net.fusions[number]
        x = scaled[number] if path is None else path + residual(fusion.own, scaled[number])
        x = up(residual(fusion.both, x), scaled[number - 1] if number else None)
        path = F.conv2d(x, fusion.project.weight, fusion.project.bias)
    assert path is not None
    return path


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_the_decoder_by_hand(size: tuple[int, int]) -> None:
    net = small()
    maps = net.encode(images(*size))
    features = net.decode(maps)
    torch.testing.assert_close(features, by_hand(net, maps), rtol=1e-4, atol=1e-5)
    scores = F.conv2d(features, net.classifier[0].weight, net.classifier[0].bias, padding=1)  # type: ignore[arg-type]
    scores = F.conv2d(F.relu(scores), net.classifier[2].weight, net.classifier[2].bias)  # type: ignore[arg-type]
    torch.testing.assert_close(net.classify(features), scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "width", "channels", "blocks"),
    [
        ("small", 64, (48, 96, 192, 384), (2, 5, 8, 11)),
        ("base", 128, (96, 192, 384, 768), (2, 5, 8, 11)),
        ("large", 256, (256, 512, 1024, 1024), (4, 11, 17, 23)),
        ("giant", 384, (1536, 1536, 1536, 1536), (9, 19, 29, 39)),
    ],
)
def test_it_is_as_wide_as_the_authors_have_it(name: str, width: int, channels: Any, blocks: Any) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        net = DPT(DPTConfig(backbone=f"timm/vit_{name}_patch14_dinov2"), 21)
    assert net.feature_channels == width
    projects: list[Any] = list(net.projects)
    assert tuple(project.out_channels for project in projects) == channels
    assert net.backbone.after == blocks


def test_options_that_are_wrong_are_named() -> None:
    for options, said in {
        ("resnet50", None): "takes vision transformers of timm",
        ("timm/resnet18", None): "no plain vision transformer",
        ("timm/vit_smal_patch14_dinov2", None): "no model of that name",
        (TINY, (0, 1, 2, 6)): "four rising numbers below 6",
        (TINY, (0, 2, 1, 3)): "four rising numbers below 6",
    }.items():
        with pytest.raises(ValidationError, match=said):
            DPTConfig(backbone=options[0], blocks=options[1])
    with pytest.raises(ValidationError, match="weights fetch timm/vit_small_patch14_dinov2"):
        DPTConfig(backbone="timm/vit_small_patch14_dinov2", weights="imagenet")
    assert vit_facts("vit_small_patch14_dinov2") == vit_facts("vit_small_patch14_dinov2.lvd142m")


def test_weights_come_from_a_file_without_its_classifier(tmp_path: Path) -> None:
    whole: Any = timm.create_model("test_vit")
    torch.save(whole.state_dict(), tmp_path / "vit.pth")
    net = small(weights=str(tmp_path / "vit.pth"))
    assert isinstance(net.backbone, VitBackbone)
    own = dict(net.backbone.net.named_parameters())
    assert all(
        torch.equal(value, own[name]) for name, value in whole.named_parameters() if not name.startswith("head.")
    )
    state = {name: value for name, value in whole.state_dict().items() if name != "blocks.3.mlp.fc1.bias"}
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(Exception, match=r"blocks\.3\.mlp\.fc1\.bias is missing"):
        small(weights=str(tmp_path / "less.pth"))


def test_the_transformer_is_the_optimizers_backbone_and_fake_tensors_go_through() -> None:
    names = [name for name, _ in small().named_parameters()]
    assert sum("backbone" in name.split(".") for name in names) > 50
    with FakeTensorMode(allow_non_fake_inputs=True):
        net: nn.Module = DPT(DPTConfig(backbone=TINY), 5)
        assert net(torch.rand(2, 3, 45, 70)).shape == (2, 5, 24, 32)
