"""A vision transformer on CUDA: every operator has a deterministic version, and no step waits for the device."""

from __future__ import annotations

from tests.noop_cuda import call


def test_a_step_of_unimatch_v2_on_dpt_in_strict_mode() -> None:
    assert call("tests.gpu.transformer") == {"fp32": 0, "bf16": 0}
