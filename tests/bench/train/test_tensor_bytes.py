"""Bytes alive against hand-worked sums, and against torch's own MemTracker."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from bench.phases import phase
from bench.train.meters import StepMeter
from bench.train.tensor_bytes import TensorBytes


def test_bytes_are_counted_once_and_given_back() -> None:
    with TensorBytes() as alive:
        first = torch.zeros(100)  # 400 bytes
        view = first[10:]  # the same storage
        second = first + 1  # 800 in all
        assert alive.now == 800
        del first
        assert alive.now == 800  # the view still holds it
        del view
        assert (alive.now, alive.peak) == (400, 800)
        alive.reset_peak()
        assert alive.peak == 400
        del second
    assert alive.now == 0


def test_peak_is_that_of_torchs_own_tracker() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    image = torch.rand(2, 3, 32, 32)
    theirs = MemTracker()
    theirs.track_external(model, image)
    with theirs:
        model(image).square().mean().backward()
    peak = sum(snap["Total"] for snap in theirs.get_tracker_snapshot("peak").values())
    model.zero_grad()
    with TensorBytes(model.parameters(), [image]) as ours:
        model(image).square().mean().backward()
    assert abs(ours.peak - peak) <= 0.02 * peak


def test_a_phase_has_its_own_peak_and_the_outer_one_goes_on() -> None:
    model = nn.Linear(1, 1, bias=False)  # 4 bytes
    meter = StepMeter(torch.device("cpu"), model, torch.optim.SGD(model.parameters(), lr=0.1))
    with meter:
        with phase("big"):
            torch.zeros(1000)
            with phase("inner"):
                kept = torch.zeros(10)
        torch.zeros(100)
    assert meter.phases == {"big": 4004, "inner": 44, "other": 444}
    assert meter.report()["peak_memory_bytes"] == 4004
    assert kept.numel() == 10
    with phase("unwatched"):
        pass
    assert "unwatched" not in meter.phases
