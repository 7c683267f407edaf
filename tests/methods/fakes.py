"""Methods on the `tiny` network, and the batches on which checks train (``bench.check.toy``)."""

from __future__ import annotations

from typing import Any

import torch

from bench.check.toy import CLASSES as CLASSES
from bench.check.toy import SHIFT as SHIFT
from bench.check.toy import ShiftedView as ShiftedView
from bench.check.toy import batch as batch
from bench.registry import get
from methods.base import Build, Method
from methods.networks.deeplabv3plus import DeepLabV3Plus, DeepLabV3PlusConfig


def network(seed: int = 0) -> DeepLabV3Plus:
    """Return the `tiny` network, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DeepLabV3Plus(DeepLabV3PlusConfig(backbone="tiny"), CLASSES)


def method(name: str, seed: int = 0, **options: Any) -> Method:
    """Return a registered method on the `tiny` network, in training mode."""
    cls = get("method", name)
    made: Method = cls(cls.Config(**options), Build(CLASSES, lambda: network(seed), seed))
    return made.train()
