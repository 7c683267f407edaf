"""Run directories as the worker writes them, and the planned cells that go with them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.store.summary import CellSummary, Summary

CLASSES = ["road", "car", "sign"]


class Store:
    """A run store in a temporary folder, filled by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: list[CellSummary] = []

    def plan(self, method: str, labels: str, seed: int, **more: Any) -> Path:
        """Plan a cell and return its run directory, which is not made. Keyword arguments are further coordinates."""
        coords: dict[str, Any] = {
            "dataset": "camvid",
            "network": "resnet18",
            "method": method,
            "protocol": "few_labels",
        }
        coords |= {"labels": labels, "seed": seed, **more}
        run_id = f"run{len(self.cells):04d}"
        self.cells.append(CellSummary(id=run_id, slug=f"slug-{run_id}", order=len(self.cells), coords=coords))
        return self.path / run_id

    def change(self, index: int, **facts: Any) -> None:
        """Change what planning says of a cell."""
        self.cells[index] = self.cells[index].model_copy(update=facts)

    def state(self, run: Path, state: str, **facts: Any) -> None:
        """Write a run's state.json."""
        run.mkdir(parents=True, exist_ok=True)
        found = {"state": state, "step": 0, "iterations": 400, "attempt": 1, "reason": None, "time": 0.0, **facts}
        (run / "state.json").write_text(json.dumps(found))
        os.utime(run / "state.json", (found["time"], found["time"]))  # age is told by the file's own time

    def done(
        self,
        run: Path,
        miou: float,
        best: float | None = None,
        iou: Sequence[float | None] = (50.0, 40.0, None),
        **facts: Any,
    ) -> None:
        """Write a finished run: state, result and cost."""
        self.state(run, "done", step=400)
        last = {"step": 400, "miou": miou, "pixel_accuracy": 80.0, "iou": list(iou)}
        result = {
            "cell_id": run.name,
            "iterations": 400,
            "evaluation": "whole image, 180x240, val",
            "labelled_images": 20,
            "labelled_pixels": 20 * 180 * 240,
            "unlabelled_images": 347,
            "classes": CLASSES,
            "split_sha256": "5eed" * 16,
            "last": last,
            "best": {**last, "step": 300, "miou": miou if best is None else best},
            **facts,
        }
        (run / "cost.json").write_text(
            json.dumps({"seconds": 65.2, "training_images_per_s": 50.0, "peak_rss_bytes": 10**9, "device": "cpu"})
        )
        (run / "result.json").write_text(json.dumps(result))

    def evaluations(self, run: Path, scores: Mapping[int, float]) -> None:
        """Write a run's metrics.jsonl: a line of losses and a line of scores per step."""
        run.mkdir(parents=True, exist_ok=True)
        lines: list[dict[str, Any]] = []
        for step, miou in scores.items():
            lines.append({"step": step, "lr": 0.01, "losses": {"supervised": 1.0}})
            lines.append({"step": step, "eval": {"miou": miou, "pixel_accuracy": 80.0, "iou": [miou, miou, None]}})
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "runs")


@pytest.fixture
def grid() -> Summary:
    """What a plan says of its grid."""
    return Summary(name="quick", title="A quick grid", select="last", iterations=400)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs whose files have been opened, in order."""
    from bench.report import rows

    opened: list[str] = []
    real = rows.read

    def counting(directory: Path) -> dict[str, Any]:
        opened.append(directory.name)
        return real(directory)

    monkeypatch.setattr(rows, "read", counting)
    return opened
