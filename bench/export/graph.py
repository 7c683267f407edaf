"""A predictor as an ONNX graph for images of any size, compared with the network before it is kept."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.resize import bilinear
from bench.spec.sections import Evaluation
from bench.train.classes import to_multiples

OPSET = 18
TOLERANCE = 1e-4  # largest difference of a score, beside the largest score or 1
EXAMPLE = (160, 224)  # height and width at which the graph is traced
SIZES = ((160, 224), (193, 131))  # at which it is compared
EXTRA = "pip install 'semisegbench[export]', or the packages onnx, onnxscript, onnxruntime and safetensors"


class WholeImage(nn.Module):
    """Image (1, 3, H, W) in [0, 1] to class scores (1, K, H, W): the network, and its scores resized."""

    def __init__(self, network: nn.Module, evaluation: Evaluation) -> None:
        super().__init__()
        self.network = network
        self.evaluation = Evaluation(multiple_of=evaluation.multiple_of) if evaluation.mode == "whole" else Evaluation()

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores at the size of the image, of which the highest is the class."""
        scores = self.network(to_multiples(image, self.evaluation))
        return bilinear(scores.float(), image.shape[2:], align_corners=True)


def write_graph(network: nn.Module, evaluation: Evaluation, path: Path) -> dict[str, Any]:
    """Write a network as ONNX, in fp32, and return what is known of the file.

    Args:
        network: in evaluation mode, on the CPU.
        evaluation: of the run; only ``multiple_of`` enters the graph, windows and padding are the caller's.
        path: the file.

    Raises:
        BenchError: if the packages aren't installed, the network has no graph for images of any size, or onnxruntime
            computes something else.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise BenchError(f"--onnx: {error.name} isn't installed: {EXTRA}") from None
    whole = WholeImage(network, evaluation).eval()
    _export(whole, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = max(_apart(whole, session, size) for size in SIZES)
    if not worst <= TOLERANCE:
        raise BenchError(
            f"--onnx: onnxruntime's scores differ from torch's by {worst:.2g}, more than {TOLERANCE}; leave it out"
        )
    return {
        "file": path.name,
        "opset": OPSET,
        "input": {"name": "image", "shape": [1, 3, "height", "width"], "is": "RGB in [0, 1], float32"},
        "output": {"name": "scores", "shape": [1, len(_classes(session)), "height", "width"], "is": "class scores"},
        "precision": "fp32",
        "largest_difference": worst,
        "compared_at": [list(size) for size in SIZES],
        "onnxruntime": onnxruntime.__version__,
    }


def _classes(session: Any) -> range:
    return range(session.get_outputs()[0].shape[1])


def _export(whole: WholeImage, path: Path) -> None:
    dynamic = torch.export.Dim.DYNAMIC
    example = (torch.rand(1, 3, *EXAMPLE, generator=torch.Generator().manual_seed(0)),)
    try:
        with _quietly(), torch.no_grad():
            program = torch.export.export(whole, example, dynamic_shapes=({2: dynamic, 3: dynamic},), strict=False)
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["scores"],
                dynamic_shapes=({2: dynamic, 3: dynamic},),
                verbose=False,
            )
            assert made is not None
            made.save(str(path), external_data=False)
    except Exception as error:  # of many types, from torch, sympy and onnx
        told = " ".join(str(error).split())[:160]
        raise BenchError(
            f"--onnx: torch finds no graph of {type(whole.network).__name__} for images of any size "
            f"({type(error).__name__}: {told}); leave it out: --no-onnx"
        ) from None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what the exporter tells while it works."""
    loud = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch")]
    levels = [logger.level for logger in loud]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loud:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loud, levels, strict=True):
                logger.setLevel(level)


def _apart(whole: WholeImage, session: Any, size: tuple[int, int]) -> float:
    """Return the largest difference of a score at an image's size, relative where scores exceed 1."""
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(size[0]))
    with torch.inference_mode():
        ours = whole(image).numpy()
    (theirs,) = session.run(None, {"image": image.numpy()})
    if theirs.shape != ours.shape:
        return float("inf")
    return float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(ours).max())))
