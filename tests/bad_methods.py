"""A plug-in of methods that go wrong, each in its own way, at step 4."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from bench.registry import register
from methods._base import Batch, Build, Method, MethodConfig


class BadConfig(MethodConfig):
    """Attributes: how it goes wrong."""

    how: Literal["nan", "memory", "bug", "disk", "stop"] = "nan"


@register("method", "bad")
class Bad(Method):
    """Goes wrong at step 4."""

    Config = BadConfig
    uses_unlabelled = False

    def __init__(self, config: BadConfig, build: Build) -> None:
        super().__init__()
        self.config = config
        self.network = build.make_network()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        loss = self.network(batch.labelled.image).float().square().mean()
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
        if self.config.how == "stop":
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)

    @property
    def predictor(self) -> nn.Module:
        return self.network
