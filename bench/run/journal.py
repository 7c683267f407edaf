"""What a run says of its training in log.txt: a line per line of losses and per evaluation, for people who follow it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bench.streams import say


class Journal:
    """Writes lines to the process's standard error, which the run's log takes.

    Args:
        iterations: optimizer steps of the run.
        step: at which this attempt begins.
    """

    def __init__(self, iterations: int, step: int) -> None:
        self.iterations = iterations
        self._losses: Mapping[str, Any] = {}
        self._say(step, "goes on from its checkpoint" if step else "begins")

    def log(self, row: Mapping[str, Any]) -> None:
        """Take a line of metrics: losses wait for the line of timing that follows them, an evaluation is told at once."""
        if "losses" in row:
            self._losses = row
        if "eval" in row:
            self._evaluation(int(row["step"]), float(row["eval"]["miou"]), row)

    def log_timing(self, row: Mapping[str, Any]) -> None:
        """Take a line of timing, and tell it with the losses of the same step."""
        found = self._losses if self._losses.get("step") == row["step"] else {}
        losses: Mapping[str, float] = found.get("losses", {})
        seconds, memory = row.get("seconds_per_step"), row.get("peak_memory_bytes", row.get("peak_rss_bytes"))
        parts = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        said = [
            *([f"loss {sum(losses.values()):.4g} ({parts})"] if losses else []),
            *([f"lr {found['lr']:.3g}"] if "lr" in found else []),
            *(f"{name} {value:.4g}" for name, value in found.get("logged", {}).items()),
            *([f"{1 / seconds:.2f} it/s"] if seconds else []),
            *([f"peak memory {memory / 1e9:.2f} GB"] if memory else []),
        ]
        self._say(int(row["step"]), ", ".join(said))

    def close(self) -> None:
        """Do nothing: the state tells how the attempt ended."""

    def _evaluation(self, step: int, miou: float, row: Mapping[str, Any]) -> None:
        held = f", {row['holdout']['miou']:.2f} on held-out images" if "holdout" in row else ""
        self._say(step, f"evaluation: mIoU {miou:.2f}{held}")

    def _say(self, step: int, text: str) -> None:
        say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} step {step}/{self.iterations}: {text}")
