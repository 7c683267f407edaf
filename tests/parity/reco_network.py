"""ReCo's network, label splits and mIoU beside ours."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

from bench import registry
from bench.seeds import rng
from bench.train.metrics import score
from datasets.protocols.few_labels import draw_few_labels
from methods.base import Build
from methods.networks.deeplabv3plus import DeepLabV3Plus, DeepLabV3PlusConfig
from tests.parity.checkouts import imported
from tests.parity.reco import (
    CLASSES,
    KEYS,
    MEAN,
    QUERIES,
    STD,
    Found,
    apart,
    labels,
    theirs,
)


def build_networks(head: int = 256) -> tuple[nn.Module, Any]:
    """Return their DeepLabV3+ and our method ReCo with the same weights, both float64."""
    torch.manual_seed(0)
    with imported("reco", "network.deeplabv3.deeplabv3") as (module,):
        network: nn.Module = module.DeepLabv3Plus(
            torchvision.models.resnet50(), num_classes=CLASSES, output_dim=head
        ).double()
    config = registry.get("method", "reco").Config(
        representation_dim=head, num_queries=QUERIES, num_negatives=KEYS, threshold=0.2, weak_threshold=0.2
    )
    build = Build(CLASSES, lambda: DeepLabV3Plus(DeepLabV3PlusConfig(backbone="resnet50"), CLASSES), 0)
    method = registry.get("method", "reco")(config, build).double()
    share(method, network, network)
    return network, method


def share(method: Any, student: nn.Module, teacher: nn.Module) -> None:
    """Give our method the weights and batch-norm statistics of their student and teacher."""
    for part, network in ((method.base.student, student), (method.base.teacher.model, teacher)):
        _copy([*part.named_parameters(), *part.named_buffers()], network, head=False)
    _copy([*method.representation.named_parameters()], student, head=True)


def _copy(into: list[tuple[str, Any]], network: nn.Module, head: bool) -> None:
    """Copy their tensors into ours, in the order of the layers; only one order fits all shapes."""
    state = {k: v for k, v in network.state_dict().items() if k.startswith("representation") == head}
    state = {k: v for k, v in state.items() if "num_batches" not in k and (not head or "running" not in k)}
    mine = [(k, v) for k, v in into if "num_batches" not in k and k.split(".")[-1] not in ("mean", "std")]
    parameters = [v for k, v in state.items() if "running" not in k]
    buffers = [v for k, v in state.items() if "running" in k]
    ordered = [*parameters, *buffers]
    assert [v.shape for _, v in mine] == [v.shape for v in ordered]
    with torch.no_grad():
        for (_, target), source in zip(mine, ordered, strict=True):
            target.copy_(source)


def network_outputs() -> Found:
    """Compare scores and representation of the same weights, in training mode, in float64."""
    network, method = build_networks()
    image = torch.rand(2, 3, 65, 81, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    student = method.base.student
    network.train()
    method.train()
    scores, representation = network((image - MEAN.double()) / STD.double())
    features = student.features(image)
    mine, head = student.classify(features), method.representation(features)
    return {"scores": apart(mine, scores), "representation": apart(head, representation)}


def splits() -> Found:
    """Count ids in which the labelled images of VOC's procedure differ, over ten seeds of a made dataset."""
    differing = 0
    with tempfile.TemporaryDirectory() as folder, imported("reco", "build_data") as (module,):
        root, names = Path(folder), [f"2007_{i:06d}" for i in range(120)]
        (root / "SegmentationClassAug").mkdir()
        (root / "train_aug.txt").write_text("".join(f"{name}\n" for name in names))
        for i, name in enumerate(names):
            draw = rng(i, "parity", "mask")
            values = draw.choice(21, size=int(draw.integers(1, 7)), replace=False)
            mask = np.r_[values, 255].astype(np.uint8)[draw.integers(0, len(values) + 1, (8, 8))]
            Image.fromarray(mask).save(root / "SegmentationClassAug" / f"{name}.png")
        module.np = _WithIn1d()  # type: ignore[attr-defined]
        present = {n: _present(root / "SegmentationClassAug" / f"{n}.png") for n in names}
        for seed in range(10):
            random.seed(seed)
            labelled, _ = module.get_pascal_idx(folder, train=True, label_num=20)
            differing += len(set(labelled) ^ set(draw_few_labels(names, present, 20, 3, seed)))
    return {"labelled images that differ": float(differing)}


class _WithIn1d:
    """NumPy with `in1d`, which new versions lack."""

    in1d = staticmethod(np.isin)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _present(path: Path) -> frozenset[int]:
    return frozenset(np.unique(np.asarray(Image.open(path))).tolist()) - {255}


def miou() -> Found:
    """Compare mIoU and accuracy of random predictions in which every class occurs."""
    with imported("reco", "module_list") as (module,):
        target, guess = labels((5, 40, 50), 7), labels((5, 40, 50), 8, void=0)
        matrix = module.ConfMatrix(CLASSES)
        matrix.update(guess.flatten(), theirs(target).flatten())
        value, accuracy = matrix.get_metrics()
        mine = score(matrix.mat)
    return {"mIoU": abs(mine.miou / 100 - value), "accuracy": abs(mine.pixel_accuracy / 100 - accuracy)}
