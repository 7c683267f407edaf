"""What ``plan --predict`` shows: the peak memory of each cell's step, predicted on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.plan.cells import Plan
    from bench.plan.request import Request


def predictions(plan: Plan, request: Request, gpu_memory: float | None, quiet: bool) -> dict[str, dict[str, Any]]:
    """Return each cell's prediction by id (see ``bench.cost.predict.predict_step``).

    Args:
        plan: the grid's cells; those of one method, network and shape share a prediction.
        request: for the store, which keeps predictions, and the data folders.
        gpu_memory: GB of 10^9 bytes; each prediction gets `fits`. None leaves it out.
        quiet: show no progress.
    """
    from bench.cli.data import progress_bar
    from bench.cost.predict import Predictions
    from bench.data.roots import DataRoots

    known, found = Predictions(request.store, DataRoots.parse(request.data)), {}
    with progress_bar("predicting memory", quiet) as step:
        for done, planned in enumerate(plan.cells):
            prediction = known.of(planned.cell)
            if gpu_memory is not None and "peak_memory_bytes" in prediction:
                prediction = {**prediction, "fits": prediction["peak_memory_bytes"] <= gpu_memory * 1e9}
            found[planned.cell.id] = prediction
            step(done + 1, len(plan.cells))
    return found


def describe(prediction: dict[str, Any] | None) -> str:
    """Return what follows a cell's id in the list: nothing where nothing was predicted."""
    if prediction is None:
        return ""
    if "error" in prediction:
        return f"  memory can't be predicted: {prediction['error']}"
    size = prediction["peak_memory_bytes"]
    text = f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
    return f"  {text} predicted" + ("" if prediction.get("fits", True) else "  ABOVE THE GPU'S MEMORY")
