from __future__ import annotations

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from bench.errors import BenchError
from methods.networks.mask_classifier import MaskClassifier, MaskClassifierConfig, semantic_scores, sine_positions
from methods.networks.torchvision_backbones import BackboneName

K = 5


def tiny(queries: int = 7, layers: int = 3) -> MaskClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MaskClassifier(MaskClassifierConfig(backbone="tiny", queries=queries, layers=layers), K)


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (65, 33), (97, 97)])
def test_shapes(size: tuple[int, int]) -> None:
    network, image = tiny().eval(), torch.rand(2, 3, *size)
    found = network.regions(image)
    h, w = math.ceil(size[0] / 4), math.ceil(size[1] / 4)
    assert found.classes.shape == (3, 2, 7, K + 1)
    assert found.masks.shape == (3, 2, 7, h, w)
    assert found.pixels.shape == (2, network.feature_channels, h, w)
    assert network(image).shape == (2, K, *size)


@pytest.mark.parametrize(
    ("backbone", "channels", "queries", "layers"),
    [("tiny", 64, 16, 2), ("resnet18", 256, 32, 3), ("resnet101", 256, 32, 3), ("mobilenet_v3_large", 256, 32, 3)],
)
def test_every_backbone(backbone: BackboneName, channels: int, queries: int, layers: int) -> None:
    with FakeTensorMode():
        network = MaskClassifier(MaskClassifierConfig(backbone=backbone, output_stride=16), K)
        found = network.regions(torch.rand(2, 3, 64, 64))
        assert found.classes.shape == (layers, 2, queries, K + 1)
        assert found.pixels.shape == (2, channels, 16, 16)


def test_marginalisation_by_loops() -> None:
    g = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(2, 3, K + 1, generator=g), torch.randn(2, 3, 4, 4, generator=g)
    scores = semantic_scores(classes, masks)
    for b in range(2):
        for k in range(K):
            want = sum(classes[b, n].softmax(0)[k] * masks[b, n].sigmoid() for n in range(3))
            torch.testing.assert_close(scores[b, k], want)


def test_the_prediction_is_the_last_layers_with_masks_upsampled_as_pixels_are_centred() -> None:
    network, image = tiny().eval(), torch.rand(1, 3, 32, 32)
    found = network.regions(image)
    masks = F.interpolate(found.masks[-1], scale_factor=4, mode="bilinear")
    torch.testing.assert_close(network(image), semantic_scores(found.classes[-1], masks))


def test_every_parameter_is_trained_and_images_do_not_mix_in_evaluation() -> None:
    network, image = tiny(), torch.rand(2, 3, 32, 32)
    found = network.regions(image)
    torch.autograd.backward([found.classes.square().sum(), found.masks.square().sum()])
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    network.eval()
    torch.testing.assert_close(network(image)[1:], network(image[1:]), rtol=1e-4, atol=1e-5)


def test_parts_of_a_batch() -> None:
    found = tiny().regions(torch.rand(3, 3, 32, 32))
    first, rest = found.of_images(slice(1)), found.of_images(slice(1, None))
    for whole, a, b, dim in zip(found, first, rest, (1, 1, 0), strict=True):
        assert torch.equal(torch.cat((a, b), dim), whole)


def test_positions_by_hand() -> None:
    found = sine_positions(2, 3, 8, torch.device("cpu"))
    assert found.shape == (6, 8)
    y, x = 2, 3  # the last cell, counted from 1
    want = [f(v * rate) for v in (y, x) for f in (math.sin, math.cos) for rate in (1, 0.01)]
    assert found[5].tolist() == pytest.approx(want, abs=1e-6)
    assert len({tuple(row) for row in found.tolist()}) == 6


def test_options_and_the_error_for_methods_on_pixels() -> None:
    assert MaskClassifierConfig(backbone="tiny").identity()["weights"] == "none"
    with pytest.raises(BenchError, match="use 'deeplabv3plus' for this method"):
        tiny().features(torch.rand(1, 3, 32, 32))
