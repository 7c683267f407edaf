"""Records of a grid's runs: coordinates, and states as they are now."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.report import frame, records
from bench.store.liveness import current_state
from bench.store.run import Run
from bench.store.status import grid_status
from bench.store.summary import Summary
from bench.store.ticket import Ticket
from tests.bench.report.conftest import Store


def test_records_hold_coordinates_and_scores(store: Store) -> None:
    store.done(store.plan("b", "20", 0), 50.25, best=51.5)
    store.plan("a", "20", 1, **{"schedule.lr": "0.01"})
    found = records.load(store.path, store.cells)
    assert found.axes == ["dataset", "network", "method", "protocol", "labels", "seed", "schedule.lr"]
    done, pending = found.records
    assert (done.coords["schedule.lr"], pending.coords["schedule.lr"]) == ("", "0.01")
    assert done.run.values == {"last": 50.25, "best": 51.5}
    assert (done.run.state, done.labelled_images, done.iou["last"]) == ("done", 20, "[50.0, 40.0, null]")
    assert (pending.run.state, pending.run.values, pending.run.seed) == ("pending", {"last": None, "best": None}, 1)


def _ticket(run: Path, **facts: Any) -> None:
    run.mkdir(parents=True, exist_ok=True)
    Ticket("s1", 0, 0, **facts).write(Run(run))


def test_tables_say_the_states_that_status_says_and_from_a_warm_cache_too(store: Store, reads: list[str]) -> None:
    store.state(store.plan("pending", "20", 0), "pending")
    store.state(store.plan("preempted", "20", 0), "preempted", step=7, reason="SIGTERM")
    store.state(store.plan("gone", "20", 0), "running", step=7, host="elsewhere", time=0.0)
    store.state(store.plan("failed", "20", 0), "failed", reason="ValueError: bad")
    store.done(store.plan("done", "20", 0), 50.0)
    store.plan("never", "20", 0)

    def states() -> list[str]:
        found = [record.run.state for record in records.load(store.path, store.cells).records]
        summary = Summary(name="quick", cells=[cell.model_copy(update={"iterations": 400}) for cell in store.cells])
        assert found == [row["state"] for row in grid_status(store.path, summary)["cells"]]
        assert found == frame.load(store.path, store.cells)["state"].tolist()
        return found

    assert states() == ["pending", "preempted", "preempted", "failed", "done", "pending"]
    reads.clear()
    for run in store.path.glob("run000?"):
        _ticket(run)
    assert states() == ["queued", "queued", "queued", "queued", "done", "pending"]
    for run in store.path.glob("run000[0-4]"):
        _ticket(run, cancelled=1.0)
    assert states() == ["cancelled"] * 4 + ["done", "pending"]
    # A ticket is none of the files that mark a change, but in the folder of a run that is done, which nobody submits.
    assert set(reads) == {"run0004"}
    reasons = [record.run.reason for record in records.load(store.path, store.cells).records]
    assert reasons[0] == current_state(Run(store.path / "run0000"))["reason"]


@pytest.mark.parametrize("file", ["result.json", "weights-last.pt"])
def test_a_run_whose_result_can_not_be_read_is_damaged_whatever_its_ticket_says(store: Store, file: str) -> None:
    run = store.plan("a", "20", 0)
    store.done(run, 50.0)
    (run / file).write_text("{")
    _ticket(run)
    (record,) = records.load(store.path, store.cells).records
    assert record.run.state == "damaged"
    assert record.run.reason.startswith(f"{run / file}: damaged")
    assert set(record.run.values.values()) == {None}


def test_a_window_without_its_stride_gets_it_from_the_cell(store: Store) -> None:
    """Runs of earlier versions left it out; they are pooled with those of today where it is the same."""
    spec = {"dataset": {}, "evaluation": {"mode": "sliding", "size": [512, 1024]}}
    other = {"dataset": {}, "evaluation": {**spec["evaluation"], "stride": [256, 512]}}
    old, new = "sliding 512×1024, original size, val", "sliding 512×1024, stride 341×682, original size, val"
    for seed, (said, cell) in enumerate([(old, spec), (new, spec), (old, other), (old, None)]):
        run = store.plan("a", "20", seed)
        store.done(run, 50.0, evaluation=said)
        if cell is not None:
            (run / "cell.json").write_text(json.dumps({"spec": cell}))
    found = [record.run.evaluation for record in records.load(store.path, store.cells).records]
    assert found == [new, new, new.replace("341×682", "256×512"), old]


def test_reporting_imports_neither_torch_nor_what_it_does_not_need() -> None:
    script = (
        "import sys, bench.report.records, bench.report.headline\n"
        "assert not {'torch', 'pandas', 'matplotlib', 'rich', 'jinja2', 'methods', 'datasets'} & set(sys.modules)\n"
        "import bench.report.tables, bench.report.pairs, bench.report.papers.notes\n"
        "from bench.report.formats import csv, html, json, latex, markdown, terminal, view\n"
        "assert not {'torch', 'pandas', 'scipy', 'matplotlib', 'methods', 'datasets'} & set(sys.modules)\n"
        "import bench.report.figures.ratio, bench.report.figures.convergence, bench.report.figures.memory\n"
        "assert not {'torch', 'pandas', 'matplotlib.pyplot', 'methods', 'datasets'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root)
