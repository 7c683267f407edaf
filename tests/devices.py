"""The devices that a test runs on which takes one: the CPU everywhere, and CUDA where there is a GPU."""

from __future__ import annotations

import pytest
import torch

DEVICES = (
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")),
)
on_every_device = pytest.mark.parametrize("device", DEVICES)
