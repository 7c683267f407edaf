"""Drawings of images beside truth and predictions, looked at pixel by pixel; and the rules that choose them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.report.figures.qualitative import COLUMN, GAP, TEXT, Row, coloured, draw, strip
from bench.report.pictures import beside, choose, image_score, of_each_budget
from bench.store.confusion import Confusion, ImageCounts
from bench.store.summary import CellSummary

PALETTE = [(0, 0, 0), (200, 10, 20), (10, 200, 30)]


def test_every_pixel_of_image_and_mask_is_in_the_png_and_void_is_no_colour_of_a_class(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    truth, predicted = (rng.choice([0, 1, 2, 255], (40, 60)).astype(np.uint8) for _ in range(2))
    row = Row("a", image, [truth, predicted % 3], ["", "mIoU 10.0"])
    (png, *_) = draw([row], ["truth", "ours"], ["sky", "cat", "cow"], PALETTE, "title", tmp_path, "sheet")
    sheet = np.asarray(Image.open(png).convert("RGB"))
    top = 3 * TEXT
    for place, expected in enumerate([image, coloured(truth, PALETTE), coloured(predicted % 3, PALETTE)]):
        left = GAP + place * (COLUMN + GAP)  # images are smaller than a column is wide
        found = sheet[2 * top : 2 * (top + 40), 2 * left : 2 * (left + 60)]
        np.testing.assert_array_equal(found[::2, ::2], expected)
        np.testing.assert_array_equal(found[1::2, 1::2], expected)
    beside = strip(row, PALETTE)
    parts = [beside[:, place * (60 + GAP) : place * (60 + GAP) + 60] for place in range(3)]
    np.testing.assert_array_equal(parts, [image, coloured(truth, PALETTE), coloured(predicted % 3, PALETTE)])
    assert beside.shape == (40, 3 * 60 + 2 * GAP, 3)
    void = {tuple(int(v) for v in pixel) for pixel in coloured(truth, PALETTE)[truth == 255]}
    assert void == {(255, 255, 255), (150, 150, 150)}


def test_the_score_of_an_image_is_the_mean_over_its_classes() -> None:
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 1, 2]], np.uint8)
    assert image_score(truth, predicted, 3) == pytest.approx(50.0)  # 1 of 2, 1 of 2; class 2 stands on void alone
    assert image_score(np.full((1, 4), 255, np.uint8), predicted, 3) is None


def kept(*right: int) -> Confusion:
    """Images of ten pixels of class 0, so many of which are right."""
    matrices = np.array([[[n, 10 - n], [0, 0]] for n in right])
    return Confusion(tuple(f"i{k}" for k in range(len(right))), 1, ImageCounts.of(matrices))


def test_images_are_chosen_by_place_or_by_what_the_last_gains_on_the_first() -> None:
    first, last = kept(5, 5, 5, 5, 5), kept(5, 9, 1, 7, 5)
    assert choose([first, last], "first", 2) == [0, 1]
    assert choose([first, last], "spread", 3) == [0, 2, 4]
    assert choose([first, last], "best", 2) == [1, 3]
    assert choose([first, last], "worst", 2) == [2, 0]
    assert choose([first], "spread", 9) == [0, 1, 2, 3, 4]
    with pytest.raises(BenchError, match="one run has nothing beside it"):
        choose([first], "best", 1)


def cell(method: str, labels: str, seed: int) -> CellSummary:
    coords = {"dataset": "d", "network": method, "method": method, "protocol": "p", "labels": labels, "seed": seed}
    name = f"{method}{labels}{seed}"
    return CellSummary(id=name, slug=name, order=0, coords=coords)


def test_runs_of_one_split_and_seed_stand_beside_each_other() -> None:
    cells = [cell(m, labels, seed) for labels in ("6", "9") for m in ("a", "b") for seed in (0, 1)]
    done = {c.id: True for c in cells} | {"b60": False}
    assert [c.id for c in beside(cells, None, done)] == ["a61", "b61"]
    assert [c.id for c in beside(cells, ["b", "a"], done)] == ["b61", "a61"]
    assert [c.id for c in beside(cells, ["a"], done)] == ["a60"]
    with pytest.raises(BenchError, match="unknown method of --methods 'A'"):
        beside(cells, ["A"], done)
    with pytest.raises(BenchError, match="no split and seed has runs of a, b that are all done"):
        beside(cells, None, {c.id: c.id.startswith("a") for c in cells})
    with pytest.raises(BenchError, match="method 'a' has 2 runs of one split and seed"):
        beside([*cells, cell("a", "6", 0)], ["a"], done)


def test_each_budget_shows_the_seed_at_which_most_can_be_drawn() -> None:
    cells = [cell(m, labels, seed) for labels in ("6", "9") for m in ("a", "b") for seed in (0, 1)]
    drawable = {c.id: True for c in cells} | {"b60": False, "a91": False}
    assert [c.id for c in of_each_budget(cells, drawable)] == ["a61", "b61", "a90", "b90"]
    assert of_each_budget(cells, dict.fromkeys(drawable, False)) == []
