"""What a step launches, copies and waits for, counted on the no-op CUDA runtime at the papers' size."""

from __future__ import annotations

from typing import Any

import pytest

from tests import noop_cuda
from tests.gpu.papers import METHODS

MOST_LAUNCHES = 1.3  # times those of the network's own passes


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = noop_cuda.call("tests.gpu.steps", "resnet101", "321", "10")
    return found


@pytest.mark.parametrize("method", METHODS)
def test_a_step_launches_little_more_than_its_networks(counts: dict[str, dict[str, Any]], method: str) -> None:
    found = counts[method]
    assert 1000 < found["bare"] < found["launches"] <= MOST_LAUNCHES * found["bare"], found["phases"]


@pytest.mark.parametrize("method", METHODS)
def test_a_step_copies_from_pinned_memory_and_waits_for_the_matching_alone(
    counts: dict[str, dict[str, Any]], method: str
) -> None:
    found, matches = counts[method], int(method == "rc2l")
    assert found["pageable_copies"] == 0
    assert found["copies_to_device"] > 0
    assert found["copies_to_host"] == found["syncs"] == matches
    assert found["refused_syncs"] == matches


def test_evaluation_waits_once_and_needs_little_memory(counts: dict[str, dict[str, Any]]) -> None:
    """Scores at 1024×2048 of 19 classes take 159 MB; the confusion matrix is one scatter, not a sort of all pixels."""
    found = counts["evaluation"]
    assert found["pageable_copies"] == 0
    assert found["waits_before_the_score"] == 0
    assert found["launches_of_a_matrix"] < 20
    assert found["peak_bytes"] < 0.8e9


def test_recos_draws_are_those_of_a_cpu(counts: dict[str, dict[str, Any]]) -> None:
    assert counts["draws"]["as_on_a_cpu"]
