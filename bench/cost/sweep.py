"""Sweeps losses over settings, each in a process of its own, so that none inherits another's memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.cost.sweep_frame import StepRow, SweepFrame, SweepRow
from bench.cost.sweep_spec import MemorySpec, Options, Series, slopes, step_slopes
from bench.cost.sweep_step import base_cell, step_cell
from bench.processes import start
from bench.spec.cell import Cell, resolve_part
from bench.spec.resources import Device

PRELOAD = ["torch", "torchvision", "bench.cost.sweep", "bench.train.tensor_bytes", "methods.losses.probes"]


@dataclass(frozen=True)
class Setting:
    """One setting of one probe, in plain values for another process."""

    probe: str
    options: Options
    mode: str
    device: Device
    limit_bytes: int


@dataclass(frozen=True)
class Step:
    """A whole training step, likewise: the cell as in cell.json, and the number of its classes."""

    cell: dict[str, Any]
    classes: int
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


def _device(setting: Setting | Step) -> Any:
    """Set torch up, and return the device that a setting runs on."""
    from bench.spec.resources import Resources
    from bench.spec.sections import Numerics
    from bench.train.setup import set_up_torch

    # The smallest workspace with which cuBLAS is deterministic, 0.1 MB. Later versions of torch allocate it for each
    # product, so that no warming up would keep the usual 34 MB out of the loss's peak.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
    wanted: Device = "cpu" if setting.mode == "fake" else setting.device
    return set_up_torch(Resources(device=wanted, threads=1), Numerics())


def measure_step(step: Step) -> StepRow:
    """Measure a whole training step in this process: its `peak_bytes`."""
    from bench.cost.sweep_step import step_bytes

    device = _device(step)
    if step.mode != "fake":
        _warm_up(device)
        _limit(step.limit_bytes, device)
    return {"peak_bytes": step_bytes(Cell.from_spec(step.cell), step.classes, step.mode, device)}


def measure(setting: Setting) -> SweepRow:
    """Measure one setting in this process.

    Returns:
        `pixels`; `peak_bytes` of the loss's forward and backward pass, inputs included; `input_bytes`; `extra_bytes`,
        their difference; `peak_rss_bytes` of the process.
    """
    device = _device(setting)
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


def _child(setting: Setting | Step, pipe: Connection) -> None:
    try:
        found: Mapping[str, Any] = measure_step(setting) if isinstance(setting, Step) else measure(setting)
        pipe.send({"state": "done", **found})
    except Exception as error:
        from bench.store.failures import classify

        failure = classify(error)
        # The first line says it; the allocator appends a trace of C++ calls.
        pipe.send({"state": failure.state.value, "reason": failure.reason[:160]})


def _fresh(setting: Setting | Step) -> Any:
    """Measure a setting in a new process; one that dies was killed for its memory, most likely."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with contextlib.closing(theirs):
        process = start(_child, (setting, theirs), PRELOAD)
    found: dict[str, Any] = {"state": "failed", "reason": "its process ended without a word"}
    with contextlib.suppress(EOFError):
        found = ours.recv()
    process.join()
    if process.exitcode == -9:
        found = {"state": "out-of-memory", "reason": "its process was killed by signal 9"}
    return found


def _whole_step(spec: MemorySpec, cell: Cell) -> StepRow:
    limit = int(spec.limit_gb * 1e9)
    found: StepRow = _fresh(Step(cell.spec(), spec.classes, spec.mode, spec.device, limit))
    if spec.mode == "fake" and found.get("peak_bytes", 0) > limit:
        found |= {"state": "out-of-memory", "reason": f"{found['peak_bytes'] / 1e9:.1f} GB predicted"}
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
        if (cell := step_cell(spec, series, values, series.label)) is not None:
            row["step"] = _whole_step(spec, cell)
        yield row


def check(spec: MemorySpec, where: str) -> int:
    """Validate every setting's options, and return how many settings there are.

    Raises:
        BenchError: for an unknown probe or option, before anything is measured.
    """
    count = 0
    for i, series in enumerate(spec.series):
        if not series.here:
            continue
        for values in series.settings():
            options = {"name": series.probe, **series.set, **values}
            resolve_part("probe", options, f"{where}: memory.series.{i}")
            step_cell(spec, series, values, f"{where}: memory.series.{i}")
            count += 1
    base_cell(spec, where)
    return count


def sweep(spec: MemorySpec, show: Callable[[SweepRow], None], before: SweepFrame | None = None) -> SweepFrame:
    """Measure all settings and return the sweep's frame.

    Args:
        spec: validated by :func:`check`.
        show: called with each row as soon as it is measured.
        before: an earlier frame, whose rows stay of series that can't be measured here.
    """
    rows: list[SweepRow] = []
    cell = base_cell(spec, spec.title)
    base = None if cell is None else _whole_step(spec, cell)
    for series in spec.series:
        if not series.here:
            rows += [row for row in (before or {"rows": []})["rows"] if row["series"] == series.label]
            continue
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
        "base": base,
        "step_slopes": step_slopes(rows, base),
    }
