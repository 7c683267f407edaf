"""Prints how often AdamW waits for the device, in its first steps and after resumes; run on the no-op runtime."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

import tests.noop_cuda.convolutions  # noqa: F401 (registers them)
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.spec.resources import Resources
from bench.train import checkpoint
from bench.train.build import build_stepper
from bench.train.setup import set_up_torch, torch_environment
from bench.train.step import Stepper
from tests.noop_cuda.counters import counting


def update(stepper: Stepper) -> int:
    """Update every parameter once and return how often the host waited for the device, which raises as well."""
    for parameter in stepper.method.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    with counting() as counted:
        stepper._update()
    torch.cuda.set_sync_debug_mode("default")
    return counted.syncs


def main() -> None:
    """Take two steps, save, load into new steppers in several ways, and take a step of each."""
    folder = Path(sys.argv[2])
    cell = make_plan(Request(sys.argv[1], (), (), folder / "store")).cells[0].cell
    device = set_up_torch(Resources(device="cuda", threads=1), cell.numerics)
    first = build_stepper(cell, 3, device)
    found: dict[str, Any] = {"new": [update(first), update(first)], "environment": torch_environment(device)}
    file = folder / "checkpoint.pt"
    checkpoint.save(file, first.state())
    own = [{name: group.get(name) for name in ("foreach", "fused")} for group in first.optimizer.param_groups]
    for name, place, fused in (("saved", None, None), ("on the device", "cuda", None), ("fused", None, True)):
        state = checkpoint.load(file) if place is None else torch.load(file, map_location=place, weights_only=True)
        if fused is not None:  # by a run that chose so
            for group in state["optimizer"]["param_groups"]:
                group["fused"], group["foreach"] = fused, False
        again = build_stepper(cell, 3, device)
        again.load(state)
        found[name] = update(again)
        assert [{key: group.get(key) for key in own[0]} for group in again.optimizer.param_groups] == own
    print(json.dumps(found))


if __name__ == "__main__":
    main()
