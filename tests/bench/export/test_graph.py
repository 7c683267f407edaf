"""ONNX graphs take images of any size, and onnxruntime computes in them what torch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from bench import registry
from bench.errors import BenchError
from bench.export import graph
from bench.spec.sections import Evaluation

NETWORKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("deeplabv3plus", {"backbone": "tiny"}),
    ("deeplabv3plus", {"backbone": "timm/resnet10t", "decoder_width": 16}),
    ("mask_classifier", {"backbone": "tiny"}),
    ("dpt", {"backbone": "timm/test_vit", "decoder_width": 16}),
)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_onnxruntime_agrees_on_sizes_that_were_not_traced(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    cls = registry.get("network", name)
    torch.manual_seed(0)
    network = cls(cls.Config(**options), 4).eval()
    told = graph.write_graph(network, Evaluation(), tmp_path / "model.onnx")
    assert told["largest_difference"] < 1e-4
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for size in ((97, 145), (224, 64)):
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            scores = F.interpolate(network(image), size, mode="bilinear", align_corners=True).numpy()
        (found,) = session.run(None, {"image": image.numpy()})
        assert found.shape == (1, 4, *size) and np.abs(found - scores).max() < 1e-4


class _Fixed(torch.nn.Module):
    """A network for one size."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * torch.ones(1, 3, *graph.EXAMPLE)


def test_a_network_for_one_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--no-onnx"):
        graph.write_graph(_Fixed(), Evaluation(), tmp_path / "model.onnx")
