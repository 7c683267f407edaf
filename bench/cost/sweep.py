"""Sweeps losses over settings, each in a process of its own, so that none inherits another's memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypedDict

from bench.cost.sweep_spec import MemorySpec, Options, Series, slopes
from bench.processes import start
from bench.spec.cell import resolve_part
from bench.spec.sections import Device

PRELOAD = ["torch", "torchvision", "bench.cost.sweep", "bench.train.tensor_bytes", "methods.losses.probes"]


class SweepRow(TypedDict, total=False):
    """One setting of a sweep: what it is, and what was found, in bytes.

    Attributes:
        series, probe, method, setting: from the file of the sweep.
        state: `done`, `out-of-memory` or `failed`, with the `reason`.
        pixels: sampled in one step; None where not even that is known.
        peak_bytes: of the loss's forward and backward pass, inputs included.
        input_bytes: of the inputs.
        extra_bytes: their difference.
        peak_rss_bytes: of the process.
    """

    series: str
    probe: str
    method: str | None
    setting: Options
    state: str
    reason: str
    pixels: int | None
    peak_bytes: int
    input_bytes: int
    extra_bytes: int
    peak_rss_bytes: int


class SweepFrame(TypedDict):
    """A whole sweep, as the store keeps it: `rows`, one per setting, and the `slopes` per series."""

    title: str
    mode: str
    limit_bytes: int
    grid: str | None
    rows: list[SweepRow]
    slopes: dict[str, float | None]


@dataclass(frozen=True)
class Setting:
    """One setting of one probe, in plain values for another process."""

    probe: str
    options: Options
    mode: str
    device: Device
    limit_bytes: int


def _address_space() -> int:
    """Return the bytes of this process's address space."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
    return pages * resource.getpagesize()


def _warm_up(device: Any) -> None:
    """Let cuBLAS take its workspaces, one for each thread that multiplies, which would count as the first loss's."""
    import torch

    if device.type == "cuda":
        factor = torch.ones(8, 8, device=device, requires_grad=True)
        loss = (factor @ factor).sum()
        # The backward pass has a thread, and so a workspace, of its own.
        loss.backward()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        del factor, loss
        torch.cuda.empty_cache()


def _limit(limit_bytes: int, device: Any) -> None:
    """Let allocations beyond the limit, and beyond what is allocated now, fail, instead of the machine swapping."""
    import torch

    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        allowed = torch.cuda.memory_reserved() + limit_bytes
        torch.cuda.set_per_process_memory_fraction(min(allowed / total, 1.0))  # of the process's device
    else:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + limit_bytes, hard))


def measure(setting: Setting) -> SweepRow:
    """Measure one setting in this process.

    Returns:
        `pixels`; `peak_bytes` of the loss's forward and backward pass, inputs included; `input_bytes`; `extra_bytes`,
        their difference; `peak_rss_bytes` of the process.
    """
    from bench.spec.sections import Numerics, Resources
    from bench.train.setup import set_up_torch

    # The smallest workspace with which cuBLAS is deterministic, 0.1 MB. Later versions of torch allocate it for each
    # product, so that no warming up would keep the usual 34 MB out of the loss's peak.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
    wanted: Device = "cpu" if setting.mode == "fake" else setting.device
    device = set_up_torch(Resources(device=wanted, threads=1), Numerics())
    part = resolve_part("probe", {"name": setting.probe, **setting.options}, "probe")
    if setting.mode == "fake":
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode():
            return _measure(part.cls(part.config, device))
    _warm_up(device)
    _limit(setting.limit_bytes, device)
    return _measure(part.cls(part.config, device))


def _measure(probe: Any) -> SweepRow:
    """Measure one forward and backward pass; on CUDA by the allocator, else by the tensors alive."""
    import torch

    from bench.train.tensor_bytes import TensorBytes

    inputs = [value for value in vars(probe).values() if isinstance(value, torch.Tensor)]
    alive = TensorBytes(inputs)
    inputs_bytes = alive.now
    if inputs[0].device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() - alive.now
        probe.loss().backward()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        with alive:
            probe.loss().backward()
        peak = alive.peak
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "pixels": probe.pixels,
        "input_bytes": inputs_bytes,
        "peak_bytes": peak,
        "extra_bytes": peak - inputs_bytes,
        "peak_rss_bytes": rss,
    }


def _child(setting: Setting, pipe: Connection) -> None:
    try:
        pipe.send({"state": "done", **measure(setting)})
    except Exception as error:
        from bench.store.failures import classify

        failure = classify(error)
        # The first line says it; the allocator appends a trace of C++ calls.
        pipe.send({"state": failure.state.value, "reason": failure.reason[:160]})


def _fresh(setting: Setting) -> SweepRow:
    """Measure a setting in a new process; one that dies was killed for its memory, most likely."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with contextlib.closing(theirs):
        process = start(_child, (setting, theirs), PRELOAD)
    found: SweepRow = {"state": "failed", "reason": "its process ended without a word"}
    with contextlib.suppress(EOFError):
        found = ours.recv()
    process.join()
    if process.exitcode == -9:
        found = {"state": "out-of-memory", "reason": "its process was killed by signal 9"}
    return found


def _rows(spec: MemorySpec, series: Series) -> Iterator[SweepRow]:
    for values in series.settings():
        options = {**series.set, **values}
        row: SweepRow = {
            "series": series.label,
            "probe": series.probe,
            "method": series.method,
            "setting": values,
        }
        limit = int(spec.limit_gb * 1e9)
        setting = Setting(series.probe, options, spec.mode, spec.device, limit)
        found = _fresh(setting)
        if spec.mode == "fake" and found.get("peak_bytes", 0) > limit:
            found |= {"state": "out-of-memory", "reason": f"{found['peak_bytes'] / 1e9:.1f} GB predicted"}
        if "pixels" not in found:  # what a setting samples is known even where it doesn't fit
            found["pixels"] = _fresh(Setting(series.probe, options, "fake", "cpu", limit)).get("pixels")
        row.update(found)
        yield row


def check(spec: MemorySpec, where: str) -> int:
    """Validate every setting's options, and return how many settings there are.

    Raises:
        BenchError: for an unknown probe or option, before anything is measured.
    """
    count = 0
    for i, series in enumerate(spec.series):
        for values in series.settings():
            options = {"name": series.probe, **series.set, **values}
            resolve_part("probe", options, f"{where}: memory.series.{i}")
            count += 1
    return count


def sweep(spec: MemorySpec, show: Callable[[SweepRow], None]) -> SweepFrame:
    """Measure all settings and return the sweep's frame: `rows`, one per setting, and the `slopes` per series.

    Args:
        spec: validated by :func:`check`.
        show: called with each row as soon as it is measured.
    """
    rows = []
    for series in spec.series:
        for row in _rows(spec, series):
            rows.append(row)
            show(row)
    return {
        "title": spec.title,
        "mode": spec.mode,
        "limit_bytes": int(spec.limit_gb * 1e9),
        "grid": spec.grid,
        "rows": rows,
        "slopes": slopes(rows),
    }
