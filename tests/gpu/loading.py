"""Copies and waits of loader and evaluator on the no-op CUDA runtime, counted and printed as JSON for ``test_loading``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.arrays import UInt8
from bench.spec.resources import Resources
from bench.spec.sections import Batch, Evaluation, Schedule
from bench.train import evaluate as module
from bench.train.evaluate import Sample, evaluate
from bench.train.loader import Loader
from bench.train.metrics import score
from datasets.augmentation.reco import Augmentation, AugmentationConfig
from tests.noop_cuda import convolutions, counters  # noqa: F401 (its import registers the convolutions)

CUDA, STEPS, CLASSES = torch.device("cuda"), 8, 5


class Images:
    """Images and masks that a generator draws."""

    def image(self, image_id: str) -> UInt8:
        """Return an image (60, 80, 3)."""
        return np.random.default_rng(int(image_id)).integers(0, 256, (60, 80, 3)).astype(np.uint8)

    def mask(self, image_id: str) -> UInt8:
        """Return a mask (60, 80)."""
        return np.random.default_rng(int(image_id)).integers(0, CLASSES, (60, 80)).astype(np.uint8)


class HostOnly(Augmentation):
    """The host's half of the augmentation: what the device is sent is the loader's alone."""

    def finish(self, image: Tensor, label: Tensor, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """Return what came."""
        return image, label

    def strong(self, rngs: Sequence[np.random.Generator], device: torch.device | str) -> Any:
        """Return nothing."""


def loading() -> dict[str, Any]:
    """Run the loader, all waits being errors; count, and compare what arrives with what the host made."""
    ids = tuple(map(str, range(12)))
    schedule = Schedule(iterations=STEPS, batch=Batch(labelled=4, unlabelled=2), accumulate=2)
    augmentation = HostOnly(AugmentationConfig(crop_size=32))
    parts = Images(), ids[:6], ids[6:], augmentation, schedule, 5
    loader = Loader(*parts, CUDA, Resources(loader_threads=3), partial=True)
    plain = Loader(*parts, torch.device("cpu"), Resources(), partial=True)
    torch.cuda.set_sync_debug_mode("error")
    with counters.counting() as counted:
        batches = [batch for step in loader.steps(0) for batch in step]
    torch.cuda.set_sync_debug_mode("default")
    expected = [plain.host_batch(step, micro) for step in range(STEPS) for micro in range(2)]
    same = [
        torch.equal(found.labelled.image.cpu(), host.image.permute(0, 3, 1, 2))
        and torch.equal(found.labelled.label.cpu(), host.mask)
        for found, host in zip(batches, expected, strict=True)
    ]
    return {**counted.counts, "syncs": counted.syncs, "same": all(same), "batches": len(batches)}


class Predictor(nn.Module):
    """One convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Conv2d(3, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (B, K, H, W)."""
        scores: Tensor = self.classify(image)
        return scores


def evaluating(evaluation: Evaluation) -> dict[str, Any]:
    """Evaluate, all waits being errors but that for the score; count."""
    images, predictor = Images(), Predictor().to(CUDA)
    samples: list[Sample] = [(images.image(str(i)), images.mask(str(i))) for i in range(10)]

    def at_the_end(total: Tensor, *rest: Any) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        found.update(counters.read())
        return score(total, *rest)

    evaluate(predictor, samples, CLASSES, evaluation, CUDA)  # warms up
    found: dict[str, int] = {}
    setattr(module, "score", at_the_end)  # noqa: B010 (mypy: not exported)
    before = counters.read()
    torch.cuda.set_sync_debug_mode("error")
    try:
        evaluate(predictor, samples, CLASSES, evaluation, CUDA)
    finally:
        setattr(module, "score", score)  # noqa: B010
    counts = {name: value - before[name] for name, value in found.items()}
    return {**counts, "syncs": sum(counts[f"{kind}_syncs"] for kind in ("stream", "device", "event"))}


def main() -> None:
    """Print the counts."""
    modes = {
        "whole": Evaluation(),
        "padded": Evaluation(mode="padded", size=(64, 96)),
        "sliding": Evaluation(mode="sliding", size=(32, 40)),
    }
    torch.use_deterministic_algorithms(True, warn_only=True)
    print(json.dumps({"loading": loading(), **{name: evaluating(mode) for name, mode in modes.items()}}))


if __name__ == "__main__":
    main()
