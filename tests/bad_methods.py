"""A plug-in of methods that go wrong, each in its own way, at step 4 or before the first step."""

from __future__ import annotations

import os
import signal
import time
from typing import Literal

import torch
from torch import Tensor, nn

from bench.config import Config
from bench.registry import register
from methods.base import Batch, Build, Method


class BadConfig(Config):
    """Attributes: how it goes wrong, the node that fails it before the first step, and seconds to wait at each step."""

    how: Literal["nan", "memory", "bug", "disk", "stop", "ecc", "not"] = "nan"
    node: str = ""
    pause: float = 0.0


@register("method", "bad")
class Bad(Method):
    """Goes wrong at step 4."""

    Config = BadConfig
    uses_unlabelled = False

    def __init__(self, config: BadConfig, build: Build) -> None:
        super().__init__()
        self.config = config
        self.network = build.make_network()
        if os.environ.get("SLURMD_NODENAME") in config.node.split(","):
            raise RuntimeError("no CUDA-capable device is detected")

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        loss = self.network(batch.labelled.image).float().square().mean()
        time.sleep(self.config.pause)
        if batch.step == 4:
            self.go_wrong()
            loss = loss * (float("nan") if self.config.how == "nan" else 1.0)
        return {"loss": loss}

    def go_wrong(self) -> None:
        if self.config.how == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if self.config.how == "bug":
            raise ZeroDivisionError("a bug\nin two lines")
        if self.config.how == "disk":
            raise OSError(28, "No space left on device")
        if self.config.how == "ecc":
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        if self.config.how == "stop":
            os.kill(os.getpid(), signal.SIGTERM)

    @property
    def predictor(self) -> nn.Module:
        return self.network
