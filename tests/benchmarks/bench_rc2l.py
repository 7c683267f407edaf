"""Time and memory of RC²L's region losses, forward and backward, against dense pixel-to-pixel contrast.

Run from the root of the repository: ``python -m tests.benchmarks.bench_rc2l [--rounds N] [--threads N] [--json]``.

Setting: one image, 256 channels, 21 classes, float32, maps of 81x81 and 129x129; 32 student and 16 teacher regions, all
present; once more two images with 50 regions on either side. "Masks included" is all four losses from mask logits and
pixel features on, and the matching; "between regions" is the two contrasts once masks and features have been reduced to
similarities, which is all that remains of the pixels. Seconds: the least of the rounds. Memory: the peak of bytes of
tensors alive beyond the inputs, gradients included, under torch's MemTracker on fake tensors: the same figure as on real
ones, without needing the memory. A version that needs more than the machine has free is not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from methods.losses import rc2l
from methods.losses.mask_classification import Targets, Weights, pairwise_cost
from methods.losses.matching import Matching, match
from methods.losses.pixel_contrast import pixel_contrast_loss
from methods.networks.mask_classifier import semantic_scores
from tests.benchmarks.figures import Figure, note

CHANNELS, CLASSES, REGIONS, TEACHER_REGIONS = 256, 21, 32, 16
SIZES = (81, 129)
TAU = 0.1
Inputs = dict[str, Tensor]
Version = tuple[Callable[[int], Inputs], Callable[[Inputs], Tensor]]


def pixel_inputs(size: int, images: int = 1) -> Inputs:
    """Return a representation and labels."""
    return {
        "representation": torch.rand(images, CHANNELS, size, size).requires_grad_(),
        "label": torch.arange(size * size).remainder(CLASSES).view(1, size, size).repeat(images, 1, 1),
    }


def dense(inputs: Inputs) -> Tensor:
    """Every pixel against every other one."""
    label = inputs["label"]
    return pixel_contrast_loss(
        inputs["representation"], label, torch.ones_like(label, dtype=torch.bool), temperature=TAU
    )


def region_inputs(size: int, images: int = 1, regions: int = REGIONS, teachers: int = TEACHER_REGIONS) -> Inputs:
    """Return what the student's network gives, and the teacher's regions."""
    return {
        "classes": torch.rand(images, regions, CLASSES + 1).requires_grad_(),
        "masks": torch.rand(images, regions, size, size).requires_grad_(),
        "pixels": torch.rand(images, CHANNELS, size, size).requires_grad_(),
        "teacher_masks": torch.rand(images, teachers, size, size).round(),
        "teacher_features": torch.rand(images, teachers, CHANNELS),
        "semantic": torch.rand(images, CLASSES, size, size),
    }


def teacher(masks: Tensor) -> Targets:
    """Return regions that are all present."""
    label = torch.arange(masks.shape[1]).remainder(CLASSES).repeat(len(masks), 1)
    return Targets(label, masks, torch.ones_like(label, dtype=torch.bool), torch.ones_like(masks[:, 0]))


def four_losses(inputs: Inputs) -> Tensor:
    """Matching, then RMC + RFC + RCC + SMC."""
    targets = teacher(inputs["teacher_masks"])
    classes, logits = inputs["classes"], inputs["masks"]
    (matching,) = match([pairwise_cost(classes, logits, targets, Weights(4, 20, 4))])
    masks, predicted = logits.sigmoid(), classes.argmax(2)
    positive = rc2l.positives(predicted, targets, matching)
    features = rc2l.region_features(inputs["pixels"], masks)
    return (
        rc2l.region_mask_contrast(masks, targets, positive, TAU)
        + rc2l.region_feature_contrast(features, inputs["teacher_features"], predicted, targets, positive, TAU)
        + rc2l.region_class_consistency(classes, targets, matching)
        + rc2l.semantic_mask_consistency(semantic_scores(classes, logits), inputs["semantic"], targets)
    )


def reduced_inputs(size: int) -> Inputs:
    """Return similarities and region features, whose size doesn't depend on the map's."""
    return {
        "dice": torch.rand(1, REGIONS, TEACHER_REGIONS).requires_grad_(),
        "features": torch.rand(1, REGIONS, CHANNELS).requires_grad_(),
        "teacher_features": torch.rand(1, TEACHER_REGIONS, CHANNELS),
    }


def between_regions(inputs: Inputs) -> Tensor:
    """RMC + RFC after the reduction."""
    targets = teacher(torch.ones(1, TEACHER_REGIONS, 1, 1))
    predicted = torch.arange(REGIONS).remainder(CLASSES)[None]
    positive = rc2l.positives(predicted, targets, Matching(targets.label, targets.present))
    features = (inputs["features"], inputs["teacher_features"])
    contrast = rc2l.region_feature_contrast(*features, predicted, targets, positive, TAU)
    return rc2l.info_nce(inputs["dice"], positive, targets.present, TAU) + contrast


VERSIONS: dict[str, Version] = {
    "dense pixel contrast": (pixel_inputs, dense),
    "RC²L, masks included": (region_inputs, four_losses),
    "RC²L, between regions": (reduced_inputs, between_regions),
    "dense, 2 images": (partial(pixel_inputs, images=2), dense),
    "RC²L, 2 images, 50 regions": (partial(region_inputs, images=2, regions=50, teachers=50), four_losses),
}


COMPARED = (
    ("RC²L, masks included", "dense pixel contrast"),
    ("RC²L, between regions", "dense pixel contrast"),
    ("RC²L, 2 images, 50 regions", "dense, 2 images"),
)
LEAST = 50.0  # times less memory than dense contrast


def step(version: str, inputs: Inputs) -> float:
    """Run forward and backward once; return the seconds."""
    wanted = [x for x in inputs.values() if x.requires_grad]
    start = time.perf_counter()
    torch.autograd.grad(VERSIONS[version][1](inputs), wanted, allow_unused=True)
    return time.perf_counter() - start


def peak_bytes(version: str, size: int) -> int:
    """Return the peak of bytes of tensors alive beyond the inputs."""
    with FakeTensorMode():
        inputs = VERSIONS[version][0](size)
        tracker = MemTracker()
        tracker.track_external(*inputs.values())
        with tracker:
            step(version, inputs)
        peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
        return int(peak) - sum(x.nbytes for x in inputs.values())


def measure(version: str, size: int, rounds: int) -> dict[str, Any]:
    """Return a row."""
    peak = peak_bytes(version, size)
    row: dict[str, Any] = {"version": version, "size": size, "tensors_mb": peak / 1e6, "seconds": None}
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 1.2 * peak < free:
        inputs = VERSIONS[version][0](size)
        step(version, inputs)  # loads what is loaded once
        row["seconds"] = min(step(version, inputs) for _ in range(rounds))
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text."""
    lines = [f"{'':28}{'map':>9}{'seconds':>12}{'tensors MB':>13}"]
    for row in rows:
        seconds = f"{row['seconds']:.4f}" if row["seconds"] is not None else "no memory"
        lines.append(f"{row['version']:28}{row['size']:>6}^2{seconds:>12}{row['tensors_mb']:>13.1f}")
    return "\n".join(lines).replace("^2", "² ")


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = [measure(version, size, options.rounds) for version in VERSIONS for size in SIZES]
    for one, reference in COMPARED:
        by_version = {row["version"]: row["tensors_mb"] for row in rows if row["size"] == SIZES[-1]}
        parts = {"tensors_mb": by_version[one], "reference_mb": by_version[reference]}
        what = f"memory of the region losses, map {SIZES[-1]}²: {one}"
        note(Figure(what, reference, by_version[reference] / by_version[one], "×", ">=", LEAST, parts=parts))
    print(json.dumps(rows, indent=1) if options.json else table(rows))


if __name__ == "__main__":
    main()
