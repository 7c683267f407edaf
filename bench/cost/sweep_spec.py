"""The file of a memory sweep: which losses, over which settings, and how they are measured. No torch here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat

from bench.config import Config
from bench.errors import BenchError
from bench.files import short_name
from bench.spec.grid import GRIDS
from bench.spec.messages import validate
from bench.spec.sections import Device
from bench.spec.yaml import read_yaml

Options = dict[str, Any]  # a probe's options by name, validated by the probe


class Series(Config):
    """One line of the plot.

    Attributes:
        label: its name.
        probe: a registered probe (``list probes``).
        set: options of the probe that all its settings share.
        axes: option to list of values; every combination is a setting.
        method: the method whose runs are the series' mIoU: those whose options have an axis' values.
    """

    label: str
    probe: str
    set: Options = Field(default={})
    axes: dict[str, list[Any]] = Field(min_length=1)
    method: str | None = None

    def settings(self) -> Iterator[Options]:
        """Yield the axes' values per setting, the first axis varying slowest."""
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(self.axes, values, strict=True))


class MemorySpec(Config):
    """A memory sweep.

    Attributes:
        title: of table and plot.
        mode: `real` runs every setting; `fake` predicts it on tensors without memory.
        device: where `real` runs; `auto` takes a GPU where there is one.
        limit_gb: memory (GB of 10^9 bytes) that a setting may take beyond the process itself; a setting that needs more is
            recorded as out of memory, so that the machine never swaps.
        series: what is swept.
        grid: a grid whose runs in the store give the plot's second panel, mIoU.
    """

    title: str = "Extra memory against pixels sampled"
    mode: Literal["real", "fake"] = "real"
    device: Device = "auto"
    limit_gb: PositiveFloat = 4.0
    series: list[Series] = Field(min_length=1)
    grid: str | None = None


class _File(Config):
    """The whole file; its one key tells it from a grid's."""

    memory: MemorySpec


def spec_path(spec: str) -> Path:
    """Return the file of a sweep given as a path or as the name of a file in ``bench/grids``.

    Raises:
        BenchError: if there is no such file.
    """
    shipped = GRIDS / f"{spec}.yaml"
    path = shipped if "/" not in spec and shipped.is_file() else Path(spec)
    if not path.is_file():
        raise BenchError(f"{spec}: no such memory sweep; the one that ships is bench/grids/memory.yaml")
    return path


def read_spec(spec: str) -> MemorySpec:
    """Read and validate a sweep.

    Raises:
        BenchError: one line for all problems of the file.
    """
    path = spec_path(spec)
    found = validate(_File, read_yaml(path), f"{path}: ").memory
    labels = [s.label for s in found.series]
    for label in labels:
        if labels.count(label) > 1:
            raise BenchError(f"{path}: memory.series: the label '{label}' is given twice")
    for i, series in enumerate(found.series):
        for key, values in series.axes.items():
            if not values:
                raise BenchError(f"{path}: memory.series.{i}.axes.{key}: an axis needs at least one value")
    return found


def result_path(store: Path, spec: str) -> Path:
    """Return where the store keeps a sweep's frame."""
    return store / ".memory" / f"{short_name(spec_path(spec).stem)}.json"


def slope(points: list[tuple[float, float]]) -> float | None:
    """Return the least-squares slope of log y over log x; None with fewer than two values of x or a y that isn't > 0."""
    if len({x for x, _ in points}) < 2 or any(y <= 0 for _, y in points):
        return None
    import numpy as np

    xs, ys = np.log(np.array(points, dtype=np.float64)).T
    return float(np.polyfit(xs, ys, 1)[0])


def slopes(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the slope per series over its settings that were measured."""
    labels = dict.fromkeys(row["series"] for row in rows)
    done = [row for row in rows if row["state"] == "done"]
    return {label: slope([(r["pixels"], r["extra_bytes"]) for r in done if r["series"] == label]) for label in labels}
