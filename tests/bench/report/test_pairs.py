"""Paired comparison: intervals against brute force and scipy, which runs make a pair, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.report import pairs, records
from bench.report.comparison import corrected, difference, sentence
from bench.report.formats.render import FORMATS, render
from bench.report.model import Table, TableCell
from bench.report.statistics import stored
from bench.seeds import rng
from bench.store.confusion import Confusion, ImageCounts, write_confusion
from bench.store.run import Run
from bench.store.summary import Summary
from tests.bench.report.conftest import Store
from tests.bench.report.statistics.simulated import draw_images, draw_run

Grid = Summary


def build(store: Store, grid: Grid, one: str = "a", other: str = "b") -> Table:
    return pairs.build(records.load(store.path, store.cells), grid, one, other)


def cells(table: Table) -> list[TableCell]:
    return [cell for section in table.sections for row in section.rows for cell in row.cells]


def test_what_settles() -> None:
    assert not difference([]).settled
    assert not difference([5.0]).settled
    assert not difference([5.0, 5.1]).settled  # two pairs never do
    assert difference([5.0, 5.1, 4.9]).settled
    three = difference([0.1, 0.5, 3.0])
    assert three.student is not None and [round(end, 1) for end in three.student] == [-2.7, 5.1]
    assert not three.settled and not three.equivalent
    assert difference([-5.0, -5.1, -4.9]).settled
    level = difference([0.2, -0.1, 0.1, 0.0])
    assert level.equivalent and level.verdict == "equivalent (±1)"
    assert difference([0.2, -0.1, 0.1, 0.0], margin=0.1).verdict == "no"


def test_noise_never_settles_more() -> None:
    for scale in (1.0, 2.0, 10.0):
        found = difference([1 + scale * x for x in (-0.5, 0.0, 0.5)], margin=2.0)
        assert (found.settled, found.equivalent) == ((False, True) if scale == 1.0 else (False, False))


def test_a_tables_comparisons_are_corrected_for_their_number() -> None:
    found = {
        name: difference(values) for name, values in (("a", [5.0, 5.1, 4.9]), ("b", [0.1, 1.4, 3.0]), ("c", [1.0]))
    }
    both = corrected(found)
    assert both["a"].p_holm == pytest.approx(2 * (found["a"].p or 0))
    assert both["b"].p_holm == found["b"].p
    assert both["c"].p_holm is None


def test_sentences() -> None:
    assert sentence(difference([]), "a", "b") == "no pair is done yet"
    assert sentence(difference([2.0]), "a", "b") == "a is 2.0 mIoU above b: a single pair settles nothing"
    found = sentence(difference([-5.0, -5.1, -4.9]), "a", "b")
    assert found == "a is 5.0 mIoU below b (95 % interval −5.2 to −4.8): 3 pairs settle it"
    assert sentence(difference([0.6, 2.0, 3.3]), "a", "b").endswith(": 3 pairs do not settle it")
    assert sentence(difference([0.1, 0.0, -0.1]), "a", "b", "Dice").endswith("show them equivalent within 1 Dice")


def keep_matrices(store: Store, run: Path, seed: int, accuracy: float, images: int = 20) -> None:
    draw = rng(seed, "test")
    found = draw_run(draw, draw_images(rng(0, "images"), images, 3), 0, np.full(3, accuracy))
    ids = tuple(f"image{i}" for i in range(images))
    write_confusion(Run(run), "last", Confusion(ids, 400, ImageCounts.of(found)))


def test_the_interval_over_seeds_and_images_stands_where_matrices_are_kept(store: Store, grid: Grid) -> None:
    for seed in range(3):
        for method, miou, accuracy in (("a", 60.0, 0.8), ("b", 50.0, 0.7)):
            run = store.plan(method, "20", seed)
            store.done(run, miou + seed / 10)
            keep_matrices(store, run, 10 * seed + len(method), accuracy)
    (cell,) = cells(build(store, grid))
    found = cell.stats["last"].facts["seeds_and_images"]
    assert found is not None and found[0] < found[1]
    assert cell.stats["last"].below["over seeds and images"].startswith("+")
    assert cell.stats["best"].facts["seeds_and_images"] is None
    keep_matrices(store, store.path / store.cells[0].id, 0, 0.8, images=19)  # another set of images
    stored._kept.cache_clear()
    assert cells(build(store, grid))[0].stats["last"].facts["seeds_and_images"] is None


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
    # Of 3, 2 and -1: mean 4/3, sd 2.08, t = 1.11 with 2 degrees of freedom; flipped signs are as far in 6 of 8 ways.
    assert cell.stats["last"].below == {
        "95 % interval": "−3.8 to +6.5",
        "p, Holm": "0.383",
        "p, sign flips": "0.5",
        "P(A > B)": "0.67",
        "settled": "no",
    }
    assert table.sections[0].rows[0].keys == {"method": "a − b"}
    assert table.notes[0].startswith("Labels 20: a is 1.3 mIoU above b (95 % interval −3.8 to +6.5): ")
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
        # Of 3, 4, 5: 4 ± 4.303 / sqrt(3), and p of t = 6.93 with 2 degrees of freedom.
        assert (stat["mean"], stat["student"], stat["settled"]) == (4.0, [1.5159, 6.4841], True)
        assert (stat["p_holm"], stat["p_sign_flip"], stat["superiority"]) == (0.0202, 0.25, 1.0)
    else:
        assert ("1.5159; 6.4841" if fmt == "csv" else "+1.5 to +6.5") in text
