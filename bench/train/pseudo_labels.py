"""What a predictor would teach: its labels of unlabelled training images beside their masks, which no training sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from bench.arrays import IGNORE_INDEX
from bench.resize import bilinear
from bench.spec.sections import Evaluation, Numerics
from bench.train.classes import to_multiples
from bench.train.evaluate import Sample, in_evaluation_mode
from bench.train.metrics import confusion_matrices, score

Found = dict[str, float]


@torch.inference_mode()
def diagnose(
    predictor: nn.Module,
    samples: Iterable[Sample],
    classes: Sequence[str],
    evaluation: Evaluation,
    device: torch.device,
    numerics: Numerics,
) -> Found:
    """Compare a predictor's labels of whole images with their masks; its train/eval mode is restored.

    Args:
        predictor: image (B, 3, H, W) in [0, 1] to class scores (B, K, h, w).
        samples: unlabelled training images (H, W, 3) uint8 with their masks (H, W) uint8, 255 = void.
        classes: names, in index order.
        evaluation: `pseudo_labels.threshold` is the probability from which a pixel is confident.
        device, numerics: as for ``bench.train.evaluate.evaluate``.

    Returns:
        In % of the pixels that aren't void: ``pseudo-label mIoU`` and ``pseudo-label accuracy`` of all, ``confident share``,
        ``confident accuracy`` of those, and for each class C ``confident C``, its share of the confident pixels, and
        ``confident C right``, how many of these are of C. What has no pixels isn't there.
    """
    assert evaluation.pseudo_labels is not None
    count, threshold = len(classes), evaluation.pseudo_labels.threshold
    everything, confident = (torch.zeros(count, count, dtype=torch.int64, device=device) for _ in range(2))
    with in_evaluation_mode(predictor):
        for image, mask in samples:
            pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
            label = torch.from_numpy(mask).to(device)[None]
            found, probability = _labels(predictor, pixels, evaluation, numerics)
            everything += confusion_matrices(found, label, count)[0]
            sure = torch.where(probability >= threshold, label, IGNORE_INDEX)
            confident += confusion_matrices(found, sure, count)[0]
    return _summary(everything.cpu(), confident.cpu(), classes)


def _labels(predictor: nn.Module, image: Tensor, evaluation: Evaluation, numerics: Numerics) -> tuple[Tensor, Tensor]:
    with torch.autocast(image.device.type, torch.bfloat16, enabled=numerics.precision == "bf16"):
        scores = predictor(to_multiples(image, evaluation))
    probability, found = bilinear(scores.float(), image.shape[2:], align_corners=True).softmax(1).max(1)
    return found.to(torch.uint8), probability


def _summary(everything: Tensor, confident: Tensor, classes: Sequence[str]) -> Found:
    named = {
        "pseudo-label accuracy": (everything.diagonal().sum(), everything.sum()),
        "confident share": (confident.sum(), everything.sum()),
        "confident accuracy": (confident.diagonal().sum(), confident.sum()),
    }
    for index, name in enumerate(classes):
        named[f"confident {name}"] = confident[:, index].sum(), confident.sum()
        named[f"confident {name} right"] = confident[index, index], confident[:, index].sum()
    found = {name: 100 * part.item() / whole.item() for name, (part, whole) in named.items() if whole.item()}
    return {"pseudo-label mIoU": score(everything).miou, **found}
