"""Grids that cross splits and initialisations, the power of a grid, and the plots of ranks and variance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from bench.errors import BenchError
from bench.report import pairs, records, spread, tables, variance
from bench.report.figures import ranks as ranks_plot
from bench.report.figures import variance as variance_plot
from bench.report.overall import overall
from bench.store.summary import Summary
from tests.bench.report.conftest import Store


def crossed(store: Store, leave_out: int = 0) -> records.Runs:
    """Two methods over splits 0, 2, 4 and inits 1, 3: scores are 50 + split + init, and 5 more for `b`."""
    left = 12 - leave_out
    for method, more in (("a", 0), ("b", 5)):
        for split in (0, 2, 4):
            for init in (1, 3):
                coords = {"seeds.split": str(split), "seeds.init": str(init)}
                run = store.plan(method, "20", 0, **coords)
                if left > 0:
                    store.done(run, 50.0 + more + split + init, split_sha256=f"{split}" * 64)
                left -= 1
    return records.load(store.path, store.cells)


def test_crossed_seeds_are_runs_of_one_cell(store: Store, grid: Summary) -> None:
    table = tables.build(crossed(store), grid)
    (section,) = table.sections
    assert [row.keys for row in section.rows] == [{"method": "a"}, {"method": "b"}]
    assert section.rows[0].cells[0].stats["last"].text == "54.0 ± 2.1 (6)"
    assert not table.warnings
    found = variance.of_cells(records.load(store.path, store.cells), "last")
    # No interaction: mean squares by hand are 8 for splits (of 2 inits) and 6 for inits (of 3 splits).
    assert [cell.method for cell in found] == ["a", "b"]
    assert [cell.found.rest for cell in found] == pytest.approx([0, 0], abs=1e-9)
    assert (found[0].found.first, found[0].found.second) == pytest.approx((2.0, 2**0.5))
    assert any(note.startswith("Crossed: each seeds.split with each seeds.init") for note in table.notes)


def test_crossed_runs_are_paired_on_both_seeds(store: Store, grid: Summary) -> None:
    table = pairs.build(crossed(store), grid, "b", "a")
    assert table.sections[0].rows[0].cells[0].stats["last"].values == (5.0,) * 6


def test_pairs_that_share_a_seed_are_one_observation(store: Store, grid: Summary) -> None:
    # Differences by split: 0.9, 1.1 | 4.9, 5.1 | 8.9, 9.1. Nine pairs would settle it, three splits of means 1, 5, 9 don't.
    for split in range(3):
        for init in range(2):
            for method in ("a", "b"):
                gain = 0.9 + 4 * split + 0.2 * init if method == "b" else 0.0
                coords = {"seeds.split": str(split), "seeds.init": str(init)}
                run = store.plan(method, "20", 0, **coords)
                store.done(run, 50.0 + gain, split_sha256=f"{split}" * 64)
    table = pairs.build(records.load(store.path, store.cells), grid, "b", "a")
    found = table.sections[0].rows[0].cells[0].stats["last"].facts
    assert stats.ttest_1samp([0.9, 1.1, 4.9, 5.1, 8.9, 9.1], 0).pvalue < 0.05
    expected = stats.ttest_1samp([1.0, 5.0, 9.0], 0)
    assert (found["observations"], found["unit"], found["settled"]) == (3, "seeds.split", False)
    assert found["student"] == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found["p"] == pytest.approx(expected.pvalue) and found["p_sign_flip_floor"] == 0.25
    assert "3 levels of seeds.split do not settle it" in table.notes[0]
    assert any(note.startswith("Crossed seeds: pairs that share a level of seeds.split") for note in table.notes)


def test_seed_may_be_one_of_the_crossed_axes(store: Store) -> None:
    for split in range(2):
        for seed in range(2):
            store.done(store.plan("a", "20", seed, **{"seeds.split": str(split)}), 50.0 + split)
    runs = records.load(store.path, store.cells)
    assert variance.crossed(runs) == ("seeds.split", "seed")
    # All spread is the split's: two levels one apart have a standard deviation of 1 / sqrt(2).
    (cell,) = variance.of_cells(runs, "last")
    assert (cell.found.first, cell.found.second) == pytest.approx((0.5**0.5, 0.0))
    assert any("crosses seeds.split with seed" in line for line in spread.explain(runs, "last", 0.5))


def test_degrees_of_freedom_are_those_of_independent_differences(store: Store) -> None:
    scores = {"a": (50.0, 51.0, 53.0), "b": (50.6, 51.2, 52.0), "c": (49.0, 51.5, 52.5)}
    for method, values in scores.items():
        for seed, value in enumerate(values):
            store.done(store.plan(method, "20", seed), value)
    found = spread.measured(records.load(store.path, store.cells), "last")
    # A difference's variance is twice the residual mean square of methods × seeds, with 2 × 2 degrees of freedom.
    table = np.array(list(scores.values()))
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    assert found.pairs == pytest.approx((2 * (rest**2).sum() / 4) ** 0.5) and found.pairs_df == 4


def test_unfinished_and_uncrossed_grids_have_no_components(store: Store, grid: Summary) -> None:
    runs = crossed(store, leave_out=1)
    assert [cell.method for cell in variance.of_cells(runs, "last")] == ["a"]
    other = Store(store.path / "other")
    other.done(other.plan("a", "20", 0), 50.0)
    assert variance.of_cells(records.load(other.path, other.cells), "last") == []
    with pytest.raises(BenchError, match="crosses two seeds"):
        variance_plot.variance(records.load(other.path, other.cells), grid, store.path)


def test_plots_are_written(store: Store, grid: Summary, tmp_path: Path) -> None:
    runs = crossed(store)
    for files in (ranks_plot.ranks(runs, grid, tmp_path), variance_plot.variance(runs, grid, tmp_path)):
        assert [path.suffix for path in files] == [".png", ".svg", ".pdf"]
        with Image.open(files[0]) as image:
            assert image.width > 800
    found = ranks_plot.ranked(runs, "last")
    assert (found.methods, found.mean, found.blocks, found.alike) == (("b", "a"), (1.0, 2.0), 6, ())


def test_plots_name_the_classes_that_are_left_out(store: Store, grid: Summary, tmp_path: Path) -> None:
    runs = crossed(store)
    runs = replace(runs, records=[replace(record, ignored=("road",)) for record in runs.records])
    for files in (ranks_plot.ranks(runs, grid, tmp_path), variance_plot.variance(runs, grid, tmp_path)):
        assert "mIoU without road" in files[1].read_text()
    assert "deviation in mIoU without road by" in next(variance.lines(runs, "last"))


def test_power_is_said_from_the_measured_spread(store: Store) -> None:
    for seed, (a, b) in enumerate([(50.0, 50.6), (51.0, 51.4), (52.0, 52.5)]):
        store.done(store.plan("a", "20", seed), a)
        store.done(store.plan("b", "20", seed), b)
    runs = records.load(store.path, store.cells)
    found = spread.measured(runs, "last")
    # Runs: variances 1 and 0.91, pooled; differences -0.6, -0.4, -0.5: sd 0.1.
    assert found.runs == pytest.approx(((2 * 1 + 2 * 0.91) / 4) ** 0.5) and found.runs_df == 4
    assert found.pairs == pytest.approx(0.1) and found.pairs_df == 2
    said = list(spread.explain(runs, "last", 0.5))
    assert "61 runs per arm, or 3 pairs" in said[0] and "measured, 4 degrees of freedom" in said[1] and len(said) == 2
    said = list(spread.explain(runs, "last", 0.1))
    assert said[2].startswith("Warning: this grid can't settle it: with 3 runs per cell its power is ")


def test_without_runs_the_prior_is_said(store: Store) -> None:
    store.plan("a", "20", 0)
    said = list(spread.explain(records.load(store.path, store.cells), "last", 0.5))
    assert "17 runs per arm" in said[0] and "a prior: 0.50" in said[1] and "single run" in said[2]


def test_methods_are_aggregated_over_the_columns_that_all_of_them_have(store: Store) -> None:
    for labels, base in (("20", 40.0), ("40", 50.0), ("full", 60.0)):
        for seed in range(2):
            store.done(store.plan("a", labels, seed), base + seed)
            if labels != "full":
                store.done(store.plan("b", labels, seed), base + 5 + seed)
    said, facts = overall(records.load(store.path, store.cells), "last")
    found = facts["aggregate"]
    # Of 40, 41, 50, 51 the middle two; the column that `b` lacks is left out.
    assert (found["columns"], found["interquartile_mean"]["a"][0], found["best"]) == (2, 45.5, "b")
    assert found["improvement"]["a"] == [1.0, 1.0, 1.0]
    assert said[0].startswith("Over 2 label budgets, interquartile mean of all runs") and "a 45.5 (" in said[0]
    with pytest.raises(BenchError, match="--aggregate: needs two methods"):
        overall(records.load(store.path, store.cells[:1]), "last")
