"""What a line of the GPU check finds, written as it goes: a crash or a hang loses nothing that was found before."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import NotRequired, TypedDict

# Why a finding isn't held against its aim on the no-op runtime.
MEANINGLESS = "numbers and times mean nothing on the no-op runtime"
NO_COMPILER = "inductor writes kernels for a real GPU only"
SMALL_SIZE = "at so small a size fixed costs outweigh the rest"
NO_CHECKOUT = "BENCH_RECO_CHECKOUT names no checkout of their code"  # on a real GPU as well


class Finding(TypedDict):
    """A figure of a line.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: of the figure; empty for counts, states and ratios without one.
        aim: in words; empty where the figure is only told.
        met: whether the value reaches the aim; None where there is none, or it wasn't held against it.
        skipped: why it wasn't.
        seconds: that it took to find.
    """

    name: str
    value: float | str | None
    unit: str
    aim: str
    met: bool | None
    skipped: NotRequired[str]
    seconds: float


class Aim(NamedTuple):
    """What a figure should be.

    Attributes:
        sense: `<=`, `>=` or `==`.
        value: the bound.
        noop: why it is left open on the no-op runtime; empty where it holds there too.
    """

    sense: str
    value: float | str
    noop: str = ""

    def met_by(self, value: Any) -> bool:
        """Tell whether a figure reaches it."""
        if self.sense == "==":
            return bool(value == self.value)
        return bool(value <= self.value if self.sense == "<=" else value >= self.value)


def at_most(value: float, noop: str = "") -> Aim:
    """Return the aim of a figure that may be this at most."""
    return Aim("<=", value, noop)


def at_least(value: float, noop: str = "") -> Aim:
    """Return the aim of a figure that must be this at least."""
    return Aim(">=", value, noop)


def exactly(value: float | str, noop: str = "") -> Aim:
    """Return the aim of a figure that must be this."""
    return Aim("==", value, noop)


class Report:
    """The file of a line's findings: one record of JSON per line, appended as soon as it is known.

    Args:
        path: of the file.
        noop: whether the line runs on the no-op runtime, where some aims are left open.
    """

    def __init__(self, path: Path, noop: bool) -> None:
        self.path, self.noop = path, noop
        self._since = time.monotonic()

    def _append(self, kind: str, content: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({kind: content}) + "\n")

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Say what the line runs on."""
        self._append("facts", dict(facts))

    def note(self, name: str, value: float | str | None, unit: str = "", aim: Aim | None = None) -> None:
        """Keep a figure."""
        now = time.monotonic()
        words = "" if aim is None else f"{aim.sense} {aim.value}"
        found: Finding = {"name": name, "value": value, "unit": unit, "aim": words, "met": None, "seconds": 0.0}
        if aim is not None and aim.noop and self.noop:
            found["skipped"] = aim.noop
        elif aim is not None:
            found["met"] = aim.met_by(value)
        if isinstance(value, float) and not math.isfinite(value):
            found["value"] = str(value)  # which JSON has no number for
        found["seconds"], self._since = round(now - self._since, 3), now
        self._append("finding", found)

    def skip(self, name: str, why: str) -> None:
        """Say that a part of the line was left out."""
        left_out: Finding = {"name": name, "value": None, "unit": "", "aim": "", "met": None, "seconds": 0.0}
        self._append("finding", {**left_out, "skipped": why})

    def end(self, error: str | None = None) -> None:
        """Say that the line came to its end, or which error ended it."""
        self._append("end", {"error": error})


class Read(NamedTuple):
    """What a report holds: facts, findings, whether the line ended, and with which error."""

    facts: dict[str, Any]
    findings: list[Finding]
    ended: bool
    error: str | None


def read(path: Path) -> Read:
    """Read a report, be it whole or cut off in the middle of its last record."""
    facts, findings, ended, error = dict[str, Any](), list[Finding](), False, None
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            break
        facts |= record.get("facts", {})
        findings += [record["finding"]] if "finding" in record else []
        if "end" in record:
            ended, error = True, record["end"]["error"]
    return Read(facts, findings, ended, error)
