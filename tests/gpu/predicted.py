"""What the allocator gives and reserves for real steps of each method; prints JSON. See ``test_predicted.py``.

``python -m tests.gpu.predicted BACKBONE CROP BATCH``, within ``tests.noop_cuda.environment()``.
"""

from __future__ import annotations

import gc
import json
import sys

import torch

from bench import resize
from bench.cost.predict import STEPS
from bench.spec.cell import Cell
from tests.gpu.papers import make_cells, make_stepper
from tests.gpu.steps import DEVICE, set_up

PRECISIONS = ("fp32", "bf16")


def measure(cell: Cell) -> dict[str, int]:
    """Return peak bytes over the first steps of a cell."""
    gc.collect()
    resize._kept.clear()  # as in a process of its own
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.memory_reserved() == 0
    stepper, loader = make_stepper(cell, DEVICE)
    for step in range(STEPS):
        stepper.take(loader.batches(step))
    return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}


def main() -> None:
    backbone, crop, batch = sys.argv[1:]
    set_up()
    found: dict[str, dict[str, int]] = {}
    for precision in PRECISIONS:
        cells = make_cells(backbone=backbone, crop=int(crop), batch=int(batch), numerics={"precision": precision})
        for name, cell in cells.items():
            found[f"{name} {precision}"] = measure(cell)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
