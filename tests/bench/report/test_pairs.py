"""Paired comparison: intervals against brute force and scipy, which runs make a pair, and what is said of them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy import stats

from bench.errors import BenchError
from bench.report import pairs, records
from bench.report.formats.render import FORMATS, render
from bench.report.model import Table, TableCell
from bench.report.pairs import bootstrap, difference, sentence, student
from bench.seeds import rng
from bench.store.summary import Summary
from tests.bench.report.conftest import Store

Grid = Summary


def build(store: Store, grid: Grid, one: str = "a", other: str = "b") -> Table:
    return pairs.build(records.load(store.path, store.cells), grid, one, other)


def cells(table: Table) -> list[TableCell]:
    return [cell for section in table.sections for row in section.rows for cell in row.cells]


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_few_pairs_are_resampled_exhaustively(n: int) -> None:
    values = rng(n, "test").normal(1, 2, n)
    means = sorted(float(np.mean(picked)) for picked in itertools.product(values, repeat=n))
    # The smallest mean that 2.5 % of all resamples don't exceed, and the same from above.
    tail = int(np.ceil(0.025 * len(means) - 1e-9)) - 1
    assert bootstrap(list(values)) == pytest.approx((means[tail], means[-1 - tail]))


def test_many_pairs_agree_with_scipy() -> None:
    values = rng(0, "test").normal(0.5, 2, 30)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=50_000, rng=rng(1, "test"))
    assert bootstrap(list(values)) == pytest.approx(tuple(expected.confidence_interval), abs=0.05)
    assert bootstrap(list(values)) == bootstrap(list(values))


def test_the_exact_interval_is_near_the_drawn_one() -> None:
    values = list(rng(3, "test").normal(0, 1, pairs.EXACT_UP_TO))
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=100_000, rng=rng(1, "test"))
    assert bootstrap(values) == pytest.approx(tuple(expected.confidence_interval), abs=0.02)


def test_the_interval_turns_over_with_the_sign() -> None:
    values = [0.3, 1.9, -0.4, 2.2, 1.1]
    low, high = bootstrap(values)
    assert bootstrap([-value for value in values]) == pytest.approx((-high, -low))


def test_students_interval_is_scipys() -> None:
    values = [2.0, 3.5, 1.0, 2.2]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert student(values) == pytest.approx((expected.low, expected.high))


def test_what_settles() -> None:
    assert not difference([]).settled
    assert not difference([5.0]).settled
    assert not difference([5.0, 5.1]).settled  # two pairs never do
    assert difference([5.0, 5.1, 4.9]).settled
    # All three above 0, so the bootstrap alone would say yes; Student's t interval is -1.3 to 5.3.
    three = difference([0.6, 2.0, 3.3])
    assert three.bootstrap is not None and three.bootstrap[0] > 0
    assert three.student is not None and three.student[0] < 0
    assert not three.settled
    assert difference([-5.0, -5.1, -4.9]).settled


def test_sentences() -> None:
    assert sentence(difference([]), "a", "b") == "no pair is done yet"
    assert sentence(difference([2.0]), "a", "b") == "a is 2.0 mIoU above b: a single pair settles nothing"
    found = sentence(difference([-5.0, -5.1, -4.9]), "a", "b")
    assert found.startswith("a is 5.0 mIoU below b (95 % interval −5.1 to −4.9; Student's t −5.2 to −4.8)")
    assert found.endswith(": 3 seeds settle it")
    assert sentence(difference([0.6, 2.0, 3.3]), "a", "b").endswith(": 3 seeds do not settle it")


def test_pairs_share_seed_split_and_every_coordinate(store: Store, grid: Grid) -> None:
    for seed, (a, b) in enumerate([(53.0, 50.0), (54.0, 52.0), (50.0, 51.0)]):
        split = f"{seed}" * 64
        store.done(store.plan("a", "20", seed), a, split_sha256=split)
        store.done(store.plan("b", "20", seed), b, split_sha256=split)
        store.done(store.plan("c", "20", seed), 10.0, split_sha256=split)
    store.done(store.plan("a", "20", 7), 90.0)  # without a partner
    table = build(store, grid)
    (cell,) = cells(table)
    assert cell.stats["last"].values == (3.0, 2.0, -1.0)
    assert cell.stats["last"].text == "+1.3 ± 2.1 (3)"
    assert cell.stats["last"].below == {"95 % interval": "−1.0 to +3.0", "settled": "no"}
    assert table.sections[0].rows[0].keys == {"method": "a − b"}
    assert table.notes[0].startswith("Labels 20: a is 1.3 mIoU above b (95 % interval −1.0 to +3.0; Student's t ")
    assert build(store, grid, "b", "a").sections[0].rows[0].cells[0].stats["last"].text == "−1.3 ± 2.1 (3)"


def test_unfinished_pairs_are_counted_with_their_reason(store: Store, grid: Grid) -> None:
    store.done(store.plan("a", "20", 0), 53.0)
    store.done(store.plan("b", "20", 0), 50.0)
    store.done(store.plan("a", "20", 1), 53.0)
    store.state(store.plan("b", "20", 1), "failed", step=3, reason="ValueError: bad")
    table = build(store, grid)
    assert cells(table)[0].stats["last"].text == "+3.0 (1/2)"
    assert [run.status for run in table.unfinished] == ["failed at step 3: b: ValueError: bad"]


def test_runs_on_different_splits_or_evaluations_are_not_compared(store: Store, grid: Grid) -> None:
    for method in ("a", "b"):
        store.done(store.plan(method, "20", 0), 50.0)
        store.done(store.plan(method, "20", 1), 50.0, split_sha256=method * 64)
        store.done(store.plan(method, "20", 2), 50.0, evaluation=f"whole image {method}")
    table = build(store, grid)
    assert cells(table)[0].planned == 1
    assert [text for text in table.warnings if text.startswith("Not compared")] == [
        "Not compared at camvid, resnet18, few_labels, labels 20, seed 1: the splits differ (aaaaaaaa, bbbbbbbb).",
        "Not compared at camvid, resnet18, few_labels, labels 20, seed 2: evaluated differently "
        "(whole image a; whole image b).",
    ]


def test_runs_that_no_axis_tells_apart_are_not_compared(store: Store, grid: Grid) -> None:
    for method in ("a", "b", "b"):
        store.done(store.plan(method, "20", 0), 50.0)
        store.done(store.plan(method, "full", len(store.cells)), 50.0)
    with pytest.raises(BenchError, match="no two of their runs share"):
        build(store, grid)


def test_methods_that_cannot_be_compared_are_errors(store: Store, grid: Grid) -> None:
    store.plan("supervised", "20", 0)
    store.plan("reco", "full", 0)
    with pytest.raises(BenchError, match=r"unknown method of this grid 'rec' \(did you mean 'reco'\?\)"):
        build(store, grid, "rec", "supervised")
    with pytest.raises(BenchError, match="can't be compared with itself"):
        build(store, grid, "reco", "reco")
    with pytest.raises(BenchError, match="no two of their runs share"):
        build(store, grid, "reco", "supervised")


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_shows_the_difference_and_the_interval(store: Store, grid: Grid, fmt: str) -> None:
    for seed, (a, b) in enumerate([(53.0, 50.0), (54.0, 50.0), (55.0, 50.0)]):
        store.done(store.plan("a", "20", seed), a)
        store.done(store.plan("b", "20", seed), b)
    text = render(build(store, grid), fmt)
    if fmt == "json":
        stat = json.loads(text)["sections"][0]["cells"][0]["last"]
        assert (stat["mean"], stat["bootstrap"], stat["settled"]) == (4.0, [3.0, 5.0], True)
    else:
        assert ("3.0; 5.0" if fmt == "csv" else "+3.0 to +5.0") in text
