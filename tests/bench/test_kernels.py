from __future__ import annotations

import torch

from bench import kernels


def test_a_device_has_its_own_kernels_unless_others_are_assumed() -> None:
    cpu = torch.device("cpu")
    assert (kernels.kind(cpu), kernels.kind(torch.device("cuda"))) == ("cpu", "cuda")
    with kernels.assuming("cuda"):
        assert kernels.kind(cpu) == "cuda"
    assert kernels.kind(cpu) == "cpu"
