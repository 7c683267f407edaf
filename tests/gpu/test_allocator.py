"""The model of PyTorch's allocator against the real one, which runs on the no-op CUDA runtime."""

from __future__ import annotations

from tests import noop_cuda
from tests.gpu.replay import EVENTS


def test_the_model_is_the_real_allocator_event_by_event() -> None:
    """Allocated and reserved bytes agree after each of thousands of random requests and frees, and every block's address."""
    found = noop_cuda.call("tests.gpu.replay")
    assert [run["agreed"] for run in found] == [EVENTS] * 3, found
    for run in found:
        assert run["model"] == run["peaks"]
        assert run["peaks"][1] > 1.05 * run["peaks"][0] > 1e9, "nothing was reserved beyond what was given"
