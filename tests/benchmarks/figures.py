"""The figures that `make bench` holds against the project's aims: how a benchmark hands them over, and how they are shown.

A benchmark calls :func:`note` for every figure that has an aim. Under `make bench` these end up in one table and in
``results/measured/speed-<hardware>.json``; a benchmark that is run by itself prints its own lines only.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

COLLECT = "BENCH_FIGURES"  # the variable that names the file in which figures are collected


@dataclass(frozen=True)
class Figure:
    """A measured figure beside its aim.

    Attributes:
        what: the thing measured, with its setting.
        against: the reference of a ratio; "–" for a plain time.
        value: the figure.
        unit: `×`, `%` or `s`.
        sense: whether the value may be at most (`<=`) or at least (`>=`) the aim.
        aim: the aim, in the same unit.
        reason: why the aim is missed, as profiling found; said only where it is.
        parts: what the figure was made of, for the file.
    """

    what: str
    against: str
    value: float
    unit: Literal["×", "%", "s"]
    sense: Literal["<=", ">="]
    aim: float
    reason: str = ""
    parts: dict[str, Any] | None = None

    @property
    def met(self) -> bool:
        """Tell whether the value reaches the aim."""
        return self.value <= self.aim if self.sense == "<=" else self.value >= self.aim


def note(figure: Figure) -> None:
    """Hand a figure to `make bench`, if that is who runs the benchmark."""
    if COLLECT in os.environ:
        with Path(os.environ[COLLECT]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(figure)) + "\n")


def collected(path: Path) -> list[Figure]:
    """Return the figures handed over so far."""
    return [Figure(**json.loads(line)) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def number(value: float, unit: str) -> str:
    """Return a figure with three significant digits and its unit."""
    digits = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits}{unit}" if unit == "×" else f"{digits} {unit}"


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table, with the reasons of the missed ones below it."""
    lines = ["| what | against | figure | aim | |", "| --- | --- | ---: | ---: | --- |"]
    for f in figures:
        aim = f"{'≤' if f.sense == '<=' else '≥'} {number(f.aim, f.unit)}"
        lines.append(
            f"| {f.what} | {f.against} | {number(f.value, f.unit)} | {aim} | {'met' if f.met else '**missed**'} |"
        )
    missed = [f"- {f.what}: {f.reason or 'no reason known'}" for f in figures if not f.met]
    return "\n".join([*lines, *(["", "Missed:", *missed] if missed else [])])
