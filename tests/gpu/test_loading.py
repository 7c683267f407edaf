from __future__ import annotations

from typing import Any

import pytest

from tests.gpu.loading import STEPS
from tests.noop_cuda import call


@pytest.fixture(scope="module")
def counted() -> dict[str, Any]:
    found: dict[str, Any] = call("tests.gpu.loading")
    return found


def test_the_loader_sends_pinned_memory_and_never_waits(counted: dict[str, Any]) -> None:
    found = counted["loading"]
    assert (found["batches"], found["same"]) == (2 * STEPS, True)
    assert found["copies_to_device"] == 4 * 2 * STEPS  # images, masks, weak views, visible labels of each micro-batch
    assert (found["pageable_copies"], found["syncs"]) == (0, 0)


def test_pinned_memory_is_used_again(counted: dict[str, Any]) -> None:
    assert 0 < counted["loading"]["host_allocs"] < 4 * 2 * STEPS / 2


@pytest.mark.parametrize("mode", ["whole", "padded", "sliding"])
def test_an_evaluation_waits_for_the_device_at_its_end_only(counted: dict[str, Any], mode: str) -> None:
    found = counted[mode]
    assert found["copies_to_device"] >= 2 * 3  # images and masks of ten samples in batches of four
    assert (found["pageable_copies"], found["syncs"]) == (0, 0)
