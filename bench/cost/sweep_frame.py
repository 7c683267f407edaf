"""What a memory sweep found, as the store keeps it."""

from __future__ import annotations

from typing import TypedDict

from bench.cost.sweep_spec import Options


class StepRow(TypedDict, total=False):
    """A whole training step: `done` with the bytes that it takes at its peak, or why not."""

    state: str
    reason: str
    peak_bytes: int


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
        step: a whole training step with the setting, where one was asked for.
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
    step: StepRow


class SweepFrame(TypedDict):
    """A whole sweep, as the store keeps it.

    Attributes:
        rows: one per setting; `slopes` per series of the loss, `step_slopes` of what whole steps take above the `base`.
        base: the recipe's own step, without any of the losses; None where no recipe is given.
    """

    title: str
    mode: str
    limit_bytes: int
    grid: str | None
    rows: list[SweepRow]
    slopes: dict[str, float | None]
    base: StepRow | None
    step_slopes: dict[str, float | None]
