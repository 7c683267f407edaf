"""The file of a memory sweep: which losses, over which settings, and how they are measured. No torch here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bench.config import Config
from bench.errors import BenchError
from bench.files import short_name
from bench.spec.grid import GRIDS
from bench.spec.messages import validate
from bench.spec.resources import Device
from bench.yaml import read_yaml

Options = dict[str, Any]  # a probe's options by name, validated by the probe


class Series(Config):
    """One line of the plot.

    Attributes:
        label: its name.
        probe: a registered probe (``list probes``).
        set: options of the probe that all its settings share.
        axes: option to list of values; every combination is a setting.
        method: the method whose runs are the series' mIoU: those whose options have an axis' values.
        step: dotted keys and values that make the recipe's step one of the series', where a whole one is measured too; its
            method takes the axes' values that are options of it. Null measures the loss alone.
        needs: an environment variable without which the series isn't measured; what the store keeps of it stays.
    """

    label: str
    probe: str
    set: Options = Field(default={})
    axes: dict[str, list[Any]] = Field(min_length=1)
    method: str | None = None
    step: dict[str, Any] | None = None
    needs: str | None = None

    @property
    def here(self) -> bool:
        """Whether what it needs is there."""
        return self.needs is None or self.needs in os.environ

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
        grid: a grid whose runs in the store give the plot's last panel, mIoU.
        recipe: of whole steps, as in a grid; measured as it is, it is the line that the losses come on top of.
        classes: K, of whole steps.
    """

    title: str = "Extra memory against pixels sampled"
    mode: Literal["real", "fake"] = "real"
    device: Device = "auto"
    limit_gb: PositiveFloat = 4.0
    series: list[Series] = Field(min_length=1)
    grid: str | None = None
    recipe: dict[str, Any] | None = None
    classes: PositiveInt = 21


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
        raise BenchError(f"{spec}: no such memory sweep; those that ship are memory and memory-voc, in bench/grids")
    return path


def read_spec(spec: str) -> MemorySpec:
    """Read and validate a sweep.

    Raises:
        BenchError: one line for all problems of the file.
    """
    path = spec_path(spec)
    found = validate(_File, read_yaml(path), f"{path}: ").memory
    if found.recipe is None and any(series.step is not None for series in found.series):
        raise BenchError(f"{path}: memory.recipe: is missing; a series' step is a change of it")
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


def step_slopes(rows: Sequence[Mapping[str, Any]], base: Mapping[str, Any] | None) -> dict[str, float | None]:
    """Return the slope per series of what a whole step takes above the base's; None where it takes no more."""
    floor = (base or {}).get("peak_bytes", 0)
    above = [
        {**row, "state": row["step"]["state"], "extra_bytes": row["step"].get("peak_bytes", 0) - floor}
        for row in rows
        if "step" in row
    ]
    return slopes(above)
