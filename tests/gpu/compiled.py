"""The line of ``resources.compile``: whether compiled networks run, how fast, and how near their losses are to eager."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.benchmarks.subjects import Subject, seconds
from tests.gpu.context import Context, open_subject, release
from tests.gpu.report import NO_COMPILER

MODES: tuple[bool | str, ...] = (False, True, "reduce-overhead")
STEPS = 6  # of which the first two, in which everything is compiled and captured, aren't timed
METHOD = "classmix"  # whose networks see two kinds of batches and run with and without gradients


def _losses_and_time(subject: Subject) -> tuple[list[dict[str, float]], float]:
    """Return each step's losses, and the least seconds of a step."""
    found, times = [], []
    for step in range(STEPS):
        taken = seconds(subject.loop, subject.device)
        times += [taken] if step >= 2 else []
        found.append(subject.stepper.take_means()[0])
    return found, min(times)


def _difference(ours: list[dict[str, float]], eager: list[dict[str, float]]) -> float:
    """Return the largest difference of a loss, relative to the eager one."""
    pairs = [(a[name], b[name]) for a, b in zip(ours, eager, strict=True) for name in b]
    return max(abs(a - b) / max(abs(b), 1e-6) for a, b in pairs)


def _trace_only() -> None:
    """Let compiled parts run operator by operator: traced, but without kernels of their own."""
    original = nn.Module.compile

    def compile_eagerly(self: nn.Module, **options: Any) -> None:
        original(self, backend="eager", **{k: v for k, v in options.items() if k != "mode"})

    nn.Module.compile = compile_eagerly  # type: ignore[method-assign]


def compiled(context: Context) -> None:
    """Steps with compiled networks, beside eager ones."""
    if context.noop:
        _trace_only()
        context.report.skip("kernels", NO_COMPILER)
    eager: list[dict[str, float]] = []
    for mode in MODES:
        cells, request = context.cells(f"compile-{str(mode).lower()}", context.sizes.check, [METHOD])
        subject = open_subject(cells[0], request, compile=mode)
        torch.compiler.reset()
        losses, taken = _losses_and_time(subject)
        eager = eager or losses
        context.report.note(f"compile: {mode}, a step", taken, "s")
        if mode:
            context.report.note(f"compile: {mode}, relative difference of losses", _difference(losses, eager))
        del subject
        release()
