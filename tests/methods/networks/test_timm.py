"""Backbones of timm: a convolutional network, ConvNeXt and a hybrid with attention, against timm's own features."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from pydantic import ValidationError
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.functional import normalize

from methods.networks.backbones import OutputStride, build_backbone
from methods.networks.deeplabv3plus import DeepLabV3Plus, DeepLabV3PlusConfig
from methods.networks.mask_classifier import MaskClassifier, MaskClassifierConfig
from methods.networks.timm_backbones import facts

# Tiny models of each kind: CNNs (one with an activation inside its normalisation), ConvNeXt, a hybrid with attention.
KINDS = ("test_resnet", "test_efficientnet", "test_convnext", "mobilevit_xxs")


def images(height: int = 65, width: int = 98) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", KINDS)
def test_stages_are_timms_features_of_the_normalised_image(name: str, output_stride: OutputStride) -> None:
    own = build_backbone(f"timm/{name}", output_stride).eval()
    options: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    reference = timm.create_model(name, features_only=True, **options).eval()
    reference.load_state_dict(own.get_submodule("net").state_dict())
    config: Any = timm.get_pretrained_cfg(name)
    with torch.no_grad():
        expected = reference(normalize(images(), config.mean, config.std))
        found = own(images())
    for got, want in zip(found, expected[-4:], strict=True):
        torch.testing.assert_close(got, want)
    for got, channels, stride in zip(found, own.channels, (4, 8, 16, 32), strict=True):
        size = [length / min(stride, output_stride) for length in (65, 98)]
        assert got.shape[:2] == (2, channels)
        assert all(int(s) <= n <= s + 1 for s, n in zip(size, got.shape[2:], strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_networks_on_them_have_gradients_everywhere(name: str) -> None:
    for net in (
        DeepLabV3Plus(DeepLabV3PlusConfig(backbone=f"timm/{name}", output_stride=16), 5),
        MaskClassifier(MaskClassifierConfig(backbone=f"timm/{name}", decoder_width=32), 5),
    ):
        net.to(memory_format=torch.channels_last)
        scores = net(images().contiguous(memory_format=torch.channels_last))
        assert scores.shape[:2] == (2, 5)
        scores.square().sum().backward()
        missing = [key for key, p in net.named_parameters() if p.grad is None]
        assert not missing


def test_in_bf16_the_scores_are_near() -> None:
    net = DeepLabV3Plus(DeepLabV3PlusConfig(backbone="timm/test_convnext", output_stride=32), 5).eval()
    with torch.no_grad():
        exact = net(images())
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(images())
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < 0.1 * exact.std()


def test_the_same_seed_gives_the_same_weights_whether_or_not_the_model_was_looked_at_before() -> None:
    facts.cache_clear()
    built = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            built.append(build_backbone("timm/test_resnet", 32))
    first, second = (list(net.parameters()) for net in built)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_fake_ones_are_built_where_memory_is_predicted() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        net = build_backbone("timm/test_convnext", 32, "none", "frozen", 2)
        maps = net(mode.from_tensor(images()))
    assert [tuple(x.shape) for x in maps] == [(2, 24, 16, 24), (2, 32, 8, 12), (2, 48, 4, 6), (2, 64, 2, 3)]


@pytest.mark.parametrize(
    ("name", "stride", "words"),
    [
        ("test_vit", 32, "its features are at strides 16, 16, 16; a backbone needs 4, 8, 16 and 32"),
        ("edgenext_xx_small", 16, r"gives no features of it at output stride 16 \(use 32\)"),
        ("swin_tiny_patch4_window7_224", 32, "doesn't take images of any size"),
        ("test_resnett", 32, "has no model of that name"),
        ("no such/model", 32, "has no model of that name"),
    ],
)
def test_a_model_that_cannot_be_one_is_refused_in_a_line(name: str, stride: OutputStride, words: str) -> None:
    with pytest.raises(ValidationError, match=f"backbone timm/{name}: .*{words}") as found:
        DeepLabV3PlusConfig(backbone=f"timm/{name}", output_stride=stride)
    assert len(found.value.errors()) == 1
    assert "\n" not in found.value.errors()[0]["msg"]


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    facts.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValidationError, match=r"pip install timm \(extra \.\[timm\]\)"):
        DeepLabV3PlusConfig(backbone="timm/test_resnet", output_stride=16)
    assert DeepLabV3PlusConfig(backbone="tiny").identity()["backbone"] == "tiny"
