"""Predicted memory against the real allocator on the no-op CUDA runtime, which takes the same steps."""

from __future__ import annotations

import pytest

from bench.cost.predict import needed, predict_step
from tests import noop_cuda
from tests.gpu.papers import CLASSES, METHODS, make_cells
from tests.gpu.predicted import PRECISIONS

BACKBONE, CROP, BATCH = "resnet50", 321, 4


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = noop_cuda.call("tests.gpu.predicted", BACKBONE, str(CROP), str(BATCH))
    return found


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", METHODS)
def test_a_prediction_is_what_the_allocator_takes(
    measured: dict[str, dict[str, int]], method: str, precision: str
) -> None:
    cells = make_cells([method], BACKBONE, CROP, BATCH, numerics={"precision": precision})
    predicted, found = predict_step(cells[method], CLASSES), measured[f"{method} {precision}"]
    assert predicted["reserved_bytes"] == pytest.approx(found["reserved"], rel=0.05)
    assert predicted["peak_memory_bytes"] == pytest.approx(found["allocated"], rel=0.05)
    assert found["reserved"] < predicted["needed_bytes"] == needed(predicted["reserved_bytes"])
