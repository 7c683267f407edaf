"""Takes steps of UniMatch V2 on DPT on the no-op runtime in strict mode; prints how often each waited, as JSON."""

from __future__ import annotations

import json

import torch

from bench.spec.resources import Resources
from bench.spec.sections import Numerics
from bench.train.setup import set_up_torch
from tests.gpu.papers import make_cells, make_stepper
from tests.noop_cuda import convolutions
from tests.noop_cuda.counters import counting

DEVICE = torch.device("cuda")
assert convolutions.library is not None  # imported so that convolutions run


def main() -> None:
    """Take two steps in each precision, the second one with the host's waits counted and refused."""
    found = {}
    for precision in ("fp32", "bf16"):
        set_up_torch(Resources(device="cuda"), Numerics(precision=precision))
        network, numerics = {"name": "dpt", "backbone": "timm/test_vit"}, {"precision": precision}
        optimizer = {"name": "adamw", "backbone_lr_factor": 0.025}
        cells = make_cells(["unimatch_v2"], crop=72, batch=2, network=network, numerics=numerics, optimizer=optimizer)
        stepper, loader = make_stepper(cells["unimatch_v2"], DEVICE)
        stepper.take(loader.batches(0))
        batches = list(loader.batches(1))
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        with counting() as counted:
            stepper.take(batches)
        torch.cuda.set_sync_debug_mode("default")
        found[precision] = counted.syncs
    print(json.dumps(found))


if __name__ == "__main__":
    main()
