"""A store as a lab has it: a planned grid whose runs are written by hand, beside files that must not leave it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.plan.cells import Plan
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep
from bench.store.bundle.write import Asked
from bench.store.cells import write_cell
from bench.store.run import Run, State
from bench.store.summary import Summary
from bench.store.ticket import Ticket
from tests.finished import archive

PRIVATE = ("checkpoint.pt", "checkpoint.pt.damaged-1", "lock", ".reserve", ".result.json.1a2b3c4d.tmp")
SECRET = (*PRIVATE, "ticket.json")


@dataclass
class Lab:
    """A grid of four seeds in a store of its own."""

    store: Path
    grid: Path
    plan: Plan
    summary: Summary

    @property
    def runs(self) -> list[Run]:
        return [Run(self.store / planned.cell.id) for planned in self.plan.cells]

    def asked(self, **more: Any) -> Asked:
        return Asked(self.store, self.summary, self.grid, **more)

    def state(self, place: int, state: State, **facts: Any) -> Run:
        """Write a run's cell and state, and files that only this store can use."""
        planned, run = self.plan.cells[place], self.runs[place]
        write_cell(run, self.plan.name, planned.cell, planned.coords, planned.data_sha256)
        run.write_state(state, step=8, iterations=8, pid=1, submission="s1", array=7, index=place, **facts)
        for name in PRIVATE:
            (run.path / name).write_text("for this store alone")
        Ticket("s1", 7, place).write(run)
        attempt = {"time": f"2026-11-2{place}T10:00:00+0000", "device": "cpu", "cpu": "EPYC", "threads": 2}
        run.record_attempt({**attempt, "git_sha": "c0ffee", "packages": {"torch": "2.9.0", "numpy": "2.1.0"}})
        return run

    def done(self, place: int, miou: float, **facts: Any) -> Run:
        """Write a finished run."""
        run, planned = self.state(place, State.DONE, miou=miou), self.plan.cells[place]
        score = {"step": 8, "miou": miou, "pixel_accuracy": 80.0, "iou": [miou, miou, None]}
        earlier = {**score, "step": 3, "miou": miou / 2}
        rows = [{"step": 3, "eval": earlier}, {"step": 8, "losses": {"a": 1.0}, "lr": 0.1}, {"step": 8, "eval": score}]
        run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        result = {
            "cell_id": run.id,
            "iterations": 8,
            "evaluation": "whole image, original size, val",
            "classes": ["ground", "bright", "dark"],
            "labelled_images": 4,
            "unlabelled_images": 20,
            "split_sha256": planned.cell.split_sha256,
            "data_sha256": planned.data_sha256,
            "last": score,
            "best": score,
            "weights_sha256": f"{place:064x}",
            **facts,
        }
        run.result.write_text(json.dumps(result))
        run.cost.write_text(json.dumps({"seconds": 3600.0, "device": "cpu", "peak_rss_bytes": 1e9}))
        run.log.write_text("what it printed\n" * 50)
        for which in ("last", "best"):
            run.weights(which).write_bytes(archive(f"{which} weights"))
        (run.path / "evaluations").mkdir(exist_ok=True)
        (run.path / "evaluations" / "test.json").write_text("{}")
        (run.path / "confusion-last.npz").write_bytes(bytes(range(256)))
        return run


def make_lab(folder: Path, grid: Path) -> Lab:
    plan, summary = plan_and_keep(Request(str(grid), (), (), folder))
    return Lab(folder, grid, plan, summary)


@pytest.fixture
def lab(tmp_path: Path, grid_file: Path) -> Lab:
    """Two seeds done, one diverged, one interrupted."""
    grid_file.write_text(grid_file.read_text().replace("seed: [0]", "seed: [0, 1, 2, 3]"))
    lab = make_lab(tmp_path / "lab", grid_file)
    lab.done(0, 40.0)
    lab.done(1, 44.0)
    lab.state(2, State.DIVERGED, reason="the loss is nan")
    lab.state(3, State.RUNNING, host="elsewhere")
    return lab
