"""Lines about memory: a step's, predicted and measured, and the sweep of the losses."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TYPE_CHECKING

import torch

from bench.machine import usable_cores
from tests.gpu.cells import bench
from tests.gpu.context import Context, open_subject, release
from tests.gpu.report import SMALL_SIZE, at_most, exactly

if TYPE_CHECKING:
    from bench.cost.predict import Prediction
    from bench.plan.cells import PlannedCell
    from bench.plan.request import Request

ON_NOOP = ["supervised", "reco", "rc2l"]  # whose sizes are judged there; a prediction takes as long as many steps
MARGIN = 0.10  # by which the reserved memory may miss the prediction


def _predict(planned: PlannedCell, classes: int) -> Prediction:
    """Predict a cell's memory, in a process that never sees the GPU."""
    from bench.cost.predict import predict_step

    torch.set_num_threads(1)
    return predict_step(planned.cell, classes)


def _measure(planned: PlannedCell, request: Request) -> dict[str, int]:
    """Take steps; return bytes: allocated and reserved at the peak, and what the device has given away in all."""
    from bench.cost.predict import STEPS

    subject = open_subject(planned, request)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(STEPS):
        subject.loop()
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated": torch.cuda.max_memory_allocated(),
        "reserved": torch.cuda.max_memory_reserved(),
        "used": total - free,
    }


def steps(context: Context) -> None:
    """A step's memory at the papers' setting is within the prediction's margin, for each method."""
    from tests.benchmarks.blobs import CLASSES

    cells, request = context.cells("memory", context.sizes.paper, ON_NOOP if context.noop else ())
    processes = max(1, min(len(cells), usable_cores() // 2))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        predictions: list[Future[Prediction]] = [pool.submit(_predict, planned, CLASSES) for planned in cells]
        for planned, future in zip(cells, predictions, strict=True):
            measured = _measure(planned, request)
            release()
            _compare(context, str(planned.coords["method"]), future.result(), measured)


def _compare(context: Context, name: str, predicted: Prediction, measured: dict[str, int]) -> None:
    if "error" in predicted:
        raise RuntimeError(f"{name}: {predicted['error']}")
    note = context.report.note
    note(f"{name}, predicted peak", predicted["peak_memory_bytes"] / 1e9, "GB")
    note(f"{name}, predicted reserved", predicted["reserved_bytes"] / 1e9, "GB")
    note(f"{name}, allocated at the peak", measured["allocated"] / 1e9, "GB")
    off = abs(measured["reserved"] / predicted["reserved_bytes"] - 1)
    note(f"{name}, reserved at the peak", measured["reserved"] / 1e9, "GB")
    note(f"{name}, reserved beside the prediction", off, "", at_most(MARGIN, SMALL_SIZE))
    aim = at_most(predicted["needed_bytes"] / 1e9)
    note(f"{name}, used on the device, context included", measured["used"] / 1e9, "GB", aim)


def sweep(context: Context) -> None:
    """``memory`` measures every setting of a short sweep on the device."""
    some = slice(1) if context.noop else slice(None)
    series = [
        {"label": "dense", "probe": "pixel_contrast", "axes": {"num_pixels": [2048, 6561][some]}},
        {"label": "ReCo", "probe": "reco", "axes": {"num_queries": [32, 256][some], "num_negatives": [512]}},
        {"label": "regions", "probe": "region_contrast", "set": {"batch": 2}, "axes": {"num_regions": [20, 50][some]}},
    ]
    path = context.write_spec("sweep", {"memory": {"mode": "real", "device": "cuda", "limit_gb": 6, "series": series}})
    found, errors = bench("memory", str(path), "--store", str(context.folder / "sweep"))
    if found is None:
        raise RuntimeError(f"memory: {' '.join(errors.split())[-300:]}")
    for row in found["rows"]:
        said = ", ".join(f"{key} {value}" for key, value in row["setting"].items())
        state = row["state"] if row["state"] == "done" else f"{row['state']}: {row.get('reason')}"
        context.report.note(f"{row['series']}, {said}", state, "", exactly("done"))
        if "extra_bytes" in row:
            context.report.note("extra memory", row["extra_bytes"] / 1e6, "MB")
