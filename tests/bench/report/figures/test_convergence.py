"""mIoU over iterations: mean and band against the numbers of the runs, and half-finished grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from bench.errors import BenchError
from bench.report import curves, records
from bench.report.figures import convergence as convergence_plot
from bench.store.summary import Summary
from tests.bench.report.conftest import Store
from tests.bench.report.figures.drawing import convergence, fill, marks, panels, shown, ys


def test_convergence_draws_mean_and_band(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    fill(store)
    convergence(store, grid, tmp_path)
    first, second = panels(drawn[0])
    assert [axes.get_title() for axes in (first, second)] == [
        "camvid, resnet18, 20",
        "camvid, resnet18, full (367 images)",
    ]
    line = first.lines[0]
    assert (np.asarray(line.get_xdata()).tolist(), ys(line)) == ([100, 200], [31.0, 41.0])
    band = np.asarray(first.collections[0].get_paths()[0].vertices)[:, 1]
    assert (band.min(), band.max()) == (30.0, 42.0)
    assert (first.get_xlabel(), first.get_ylabel()) == ("iterations", "mIoU (%)")
    assert marks(drawn[0]) == "line: mean, band: least to greatest, 3 seeds"


def test_convergence_of_unfinished_runs(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    for seed, steps in enumerate([{100: 10.0, 200: 20.0}, {100: 12.0}]):
        run = store.plan("a", "20", seed)
        store.state(run, "preempted", step=max(steps))
        store.evaluations(run, steps)
    done, behind = store.plan("b", "20", 0), store.plan("b", "20", 1)
    store.done(done, 50.0)
    store.evaluations(done, {100: 30.0, 200: 50.0})
    store.evaluations(behind, {100: 0.0})
    store.plan("a", "full", 0)
    convergence(store, grid, tmp_path)
    first, second = panels(drawn[0])
    # a: no run is done, so both, at the step that both have reached; b: the run that is done alone
    assert [ys(line) for line in first.lines] == [[11.0], [30.0, 50.0]]
    assert shown(second) == ["no run has been evaluated yet"]
    assert marks(drawn[0]).endswith("1 to 2 seeds; where no run is done: unfinished runs")


def test_a_logged_quantity_instead_of_the_score(
    store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]
) -> None:
    run, without = store.plan("a", "20", 0), store.plan("a", "full", 0)
    for one in (run, without):
        store.done(one, 50.0)
    convergence_plot.convergence(
        records.load(store.path, store.cells), {run.name: {10: 0.25, 20: 0.5}}, grid, tmp_path, "confident share"
    )
    first, second = panels(drawn[0])
    assert ys(first.lines[0]) == [0.25, 0.5]
    assert first.get_ylabel() == "confident share"
    assert shown(second) == ["no run has logged confident share"]


def test_convergence_of_runs_without_a_common_step(
    store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]
) -> None:
    for seed in range(2):
        run = store.plan("a", "20", seed)
        store.done(run, 50.0)
        store.evaluations(run, {100 + seed: 50.0})
    convergence(store, grid, tmp_path)
    assert ys(panels(drawn[0])[0].lines[0]) == []


def test_a_panel_for_each_loss_and_budget(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    for seed, rows in enumerate(
        [
            [{"step": 10, "losses": {"labelled": 2.0, "unlabelled": 9.0}}, {"step": 20, "losses": {"labelled": 1.0}}],
            [
                {"step": 10, "losses": {"labelled": 4.0}, "logged": {"share": 0.5}},
                {"step": 20, "losses": {"labelled": 3}},
            ],
        ]
    ):
        run = store.plan("a", "20", seed)
        store.done(run, 50.0)
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    store.done(store.plan("b", "full", 0), 50.0)
    logged = curves.read_every(store.path, [cell.id for cell in store.cells])
    convergence_plot.losses(records.load(store.path, store.cells), logged, grid, tmp_path)
    titles = [axes.get_title() for axes in panels(drawn[0])]
    assert titles == [f"{name}\ncamvid, resnet18, 20" for name in ("labelled", "unlabelled", "share")]
    labelled, unlabelled, share = panels(drawn[0])
    assert [ys(axes.lines[0]) for axes in (labelled, unlabelled, share)] == [[3.0, 2.0], [9.0], [0.5]]
    band = np.asarray(labelled.collections[0].get_paths()[0].vertices)[:, 1]
    assert (band.min(), band.max()) == (1.0, 4.0)
    assert labelled.get_ylim() != unlabelled.get_ylim()  # each its own axis


def test_losses_of_runs_that_logged_nothing(store: Store, grid: Summary, tmp_path: Path) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    with pytest.raises(BenchError, match="no run has logged a loss yet"):
        convergence_plot.losses(records.load(store.path, store.cells), {}, grid, tmp_path)
