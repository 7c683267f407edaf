"""Steps of the ReCo authors' own code, from a checkout of github.com/lorenmt/reco that ``BENCH_RECO_CHECKOUT`` names.

Nothing of it is copied: its functions are called in the order of its ``train_semisup.py``.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

CHECKOUT = "BENCH_RECO_CHECKOUT"


def load(name: str) -> ModuleType:
    """Import a module of the checkout."""
    path = Path(os.environ[CHECKOUT])
    if not (path / "module_list.py").exists():
        sys.exit(f"{CHECKOUT}={path} has no module_list.py; give the path of a checkout of lorenmt/reco")
    if str(path) not in sys.path:
        sys.path.append(str(path))
    return importlib.import_module(name)


class Steps:
    """Takes steps of the authors' semi-supervised training with ClassMix and ReCo, on batches given as tensors.

    Args:
        backbone: a ResNet of torchvision, whose weights are random.
        classes: number of classes.
        crop: crop size.
        scale: range of the random scale.
    """

    def __init__(
        self, backbone: str, classes: int, crop: int, scale: tuple[float, float], device: torch.device
    ) -> None:
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        self.losses, self.data = load("module_list"), load("build_data")
        # Written for an old torchvision, whose `get_params` gave a transform; their comment names this replacement.
        transforms = torchvision.transforms
        jitter = SimpleNamespace(get_params=transforms.ColorJitter)
        self.data.transforms = SimpleNamespace(RandomCrop=transforms.RandomCrop, ColorJitter=jitter)  # type: ignore[attr-defined]
        network = load("network.deeplabv3.deeplabv3").DeepLabv3Plus
        self.model: Any = network(torchvision.models.get_model(backbone), num_classes=classes, output_dim=256)
        self.model.to(device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=2.5e-3, weight_decay=5e-4, momentum=0.9, nesterov=True
        )
        self.ema = self.losses.EMA(self.model, 0.99)
        self.model.train()
        self.ema.model.train()
        self.classes, self.crop, self.scale = classes, (crop, crop), scale

    def _views(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores, _ = self.ema.model(images)
        scores = F.interpolate(scores, size=images.shape[2:], mode="bilinear", align_corners=True).float()  # for PIL
        views: Any = (images, *reversed(torch.max(torch.softmax(scores, 1), 1)))
        views = self.data.batch_transform(*views, self.crop, self.scale, apply_augmentation=False)
        views = self.losses.generate_unsup_data(*views, mode="classmix")
        strong: tuple[Tensor, Tensor, Tensor] = self.data.batch_transform(
            *views, self.crop, (1.0, 1.0), apply_augmentation=True
        )
        return strong

    @torch.no_grad()
    def _reco_inputs(self, label: Tensor, pseudo: Tensor, confidence: Tensor, scores: Tensor) -> list[Tensor]:
        size = scores.shape[2:]
        mask = torch.cat(((label.unsqueeze(1) >= 0).float(), confidence.ge(0.7).float().unsqueeze(1)))
        onehot = [self.losses.label_onehot(x, self.classes) for x in (label, pseudo)]
        labels = torch.cat([F.interpolate(x, size=size, mode="nearest") for x in onehot])
        return [labels, F.interpolate(mask, size=size, mode="nearest"), torch.softmax(scores, 1)]

    def step(self, image: Tensor, label: Tensor, unlabelled: Tensor) -> float:
        """Take a step. Images are normalised, (B, 3, H, W); `label` (B, H, W) has -1 where void. Returns the loss."""
        self.optimizer.zero_grad()
        with torch.no_grad():
            strong, pseudo, confidence = self._views(unlabelled)
        scores, features = self.model(image)
        large = F.interpolate(scores, size=label.shape[1:], mode="bilinear", align_corners=True)
        scores_u, features_u = self.model(strong)
        large_u = F.interpolate(scores_u, size=label.shape[1:], mode="bilinear", align_corners=True)
        loss = self.losses.compute_supervised_loss(large, label)
        loss = loss + self.losses.compute_unsupervised_loss(large_u, pseudo, confidence, 0.97)
        inputs = self._reco_inputs(label, pseudo, confidence, torch.cat((scores, scores_u)))
        loss = loss + self.losses.compute_reco_loss(torch.cat((features, features_u)), *inputs, 0.97, 0.5, 256, 512)
        loss.backward()
        self.optimizer.step()
        self.ema.update(self.model)
        return float(loss.detach())


def make_step(steps: Steps, image: Tensor, label: Tensor, unlabelled: Tensor) -> Callable[[], None]:
    """Return a function that takes one step on images in [0, 1], normalised beforehand as the authors' loader does."""
    mean, std = (
        torch.tensor(x, device=image.device)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    label = torch.where(label == 255, -1, label.long())
    image, unlabelled = (image - mean) / std, (unlabelled - mean) / std

    def step() -> None:
        steps.step(image, label, unlabelled)

    return step
