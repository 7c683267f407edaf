from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.seeds import rng
from methods import mixing
from methods.base import IMAGENET_MEAN

Triple = tuple[Tensor, Tensor, Tensor]


def example(count: int = 3, height: int = 12, width: int = 17, classes: int = 6) -> Triple:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(classes, (count, height, width), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.2] = 255
    confidence = torch.rand(label.shape, generator=generator).masked_fill(label == 255, 0)
    return torch.rand(count, 3, height, width, generator=generator), label, confidence


def by_hand(triple: Triple, keep: Tensor, fill: tuple[Any, Any, Any] | None) -> Triple:
    """Mix pixel by pixel: image i where `keep`, else the next image (or `fill`)."""
    image, label, confidence = (t.clone() for t in triple)
    count, height, width = label.shape
    for i in range(count):
        for y in range(height):
            for x in range(width):
                if keep[i, y, x]:
                    continue
                n = (i + 1) % count
                new = fill or (triple[0][n, :, y, x], triple[1][n, y, x], triple[2][n, y, x])
                image[i, :, y, x], label[i, y, x], confidence[i, y, x] = new
    return image, label, confidence


def same(a: Triple, b: Triple) -> bool:
    return all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def test_classmix_against_a_loop() -> None:
    triple = example()
    keep = mixing.class_mask(triple[1], rng(3, "mix"))
    assert same(mixing.mix("classmix", *triple, rng(3, "mix")), by_hand(triple, keep, None))


def test_class_mask_is_half_of_the_classes_present() -> None:
    label = example(classes=7)[1]
    label[1] = 4  # one class: floor(1/2) = 0 classes are kept
    label[2].clamp_(max=1)  # 255 becomes 1: two classes
    for draw in range(20):
        keep = mixing.class_mask(label, rng(draw, "mix"))
        for mask, image in zip(keep, label, strict=True):
            present = set(image.unique().tolist())
            kept = set(image[mask].unique().tolist())
            assert len(kept) == len(present) // 2
            assert kept.isdisjoint(image[~mask].unique().tolist())  # a class is kept as a whole


def test_void_can_be_left_out_of_the_draw() -> None:
    label = example(classes=7)[1]
    label[1] = 255  # nothing but void: nothing is kept
    label[2].clamp_(max=1)  # 255 becomes 1: no void, two classes
    kept = [set[int](), set[int](), set[int]()]
    for draw in range(20):
        keep = mixing.class_mask(label, rng(draw, "mix"), draw_void=False)
        assert not keep[label == 255].any()
        for i in range(3):
            chosen = set(label[i][keep[i]].tolist())
            assert len(chosen) == len(set(label[i].flatten().tolist()) - {255}) // 2
            assert chosen.isdisjoint(label[i][~keep[i]].tolist())
            kept[i] |= chosen
    assert kept == [set(range(7)), set(), {0, 1}]
    triple = example()
    keep = mixing.class_mask(triple[1], rng(3, "mix"), draw_void=False)
    assert not torch.equal(keep, mixing.class_mask(triple[1], rng(3, "mix")))
    assert same(mixing.mix("classmix", *triple, rng(3, "mix"), draw_void=False), by_hand(triple, keep, None))


def test_class_choice_is_uniform_and_independent_per_image() -> None:
    label = torch.tensor([3, 8, 20, 41, 255]).repeat(2000, 1).view(2000, 1, 5)
    keep = mixing.class_mask(label, rng(0, "mix"))[:, 0].double()
    assert set(keep.sum(1).tolist()) == {2}
    pairs = keep.T @ keep / 2000
    expected = torch.full((5, 5), 2 * 1 / (5 * 4)).double().fill_diagonal_(2 / 5)
    assert (pairs - expected).abs().max() < 0.045  # four standard deviations of a share near 0.4


@pytest.mark.parametrize("kind", ["cutmix", "cutout"])
def test_rectangle_mixes_against_a_loop(kind: mixing.Mix) -> None:
    triple = example()
    keep = torch.ones(triple[1].shape, dtype=torch.bool)
    for i, (top, left, bottom, right) in enumerate(mixing.draw_rectangles(3, 12, 17, rng(5, "mix"))):
        keep[i, top:bottom, left:right] = False
    fill = (torch.tensor(IMAGENET_MEAN), 255, 0.0) if kind == "cutout" else None
    assert same(mixing.mix(kind, *triple, rng(5, "mix")), by_hand(triple, keep, fill))


@pytest.mark.parametrize(("height", "width"), [(321, 321), (64, 128), (33, 20)])
def test_rectangles_follow_the_authors_law(height: int, width: int) -> None:
    boxes = mixing.draw_rectangles(5000, height, width, rng(1, "mix"))
    top, left, bottom, right = boxes.T
    w, h = right - left, bottom - top
    assert w.min() == width // 2 + 1
    assert w.max() == width - 1
    assert np.array_equal(h, np.round(height * width / 2 / w))
    assert (abs(w * h - height * width / 2) <= w / 2).all()
    for start, room in ((left, width - w), (top, height - h)):
        assert (start >= 0).all()
        assert (start <= room).all()
        assert abs((start[room > 0] / room[room > 0]).mean() - 0.5) < 0.05


@pytest.mark.parametrize(("height", "width"), [(321, 321), (64, 128)])
def test_unimatchs_boxes_follow_its_law(height: int, width: int) -> None:
    count = 4000
    boxes = mixing.draw_boxes("unimatch", count, height, width, rng(1, "mix"))[:, 0]
    top, left, bottom, right = boxes.T
    h, w = bottom - top, right - left
    some = w > 0
    assert abs(some.mean() - 0.5) < 4 * 0.5 / count**0.5
    assert not boxes[~some].any()
    assert (top >= 0).all() and (left >= 0).all() and (bottom <= height).all() and (right <= width).all()
    share = (w * h / (height * width))[some]
    assert share.min() > 0.015 and share.max() <= 0.4
    assert abs(share.mean() - 0.21) < 0.015  # uniform from 2 to 40 %, each side cut down to whole pixels
    ratio = h[some] / w[some]
    assert ratio.min() > 0.25 and ratio.max() < 4.1


def one_box_by_hand(height: int, width: int, draw: np.random.Generator) -> tuple[int, int]:
    """Height and width of a box of UniMatch's, one number drawn after the other, until it fits."""
    area = draw.uniform(0.02, 0.4) * height * width
    while True:
        ratio = draw.uniform(0.3, 1 / 0.3)
        w, h = int((area / ratio) ** 0.5), int((area * ratio) ** 0.5)
        if draw.integers(0, width) + w <= width and draw.integers(0, height) + h <= height:
            return h, w


def test_unimatchs_boxes_have_the_distribution_of_single_draws() -> None:
    draw = rng(2, "test")
    expected = np.array([one_box_by_hand(64, 128, draw) for _ in range(3000)], np.float64)
    boxes = mixing.draw_boxes("unimatch", 6000, 64, 128, rng(1, "mix"))[:, 0]
    found = np.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]], 1)[boxes[:, 2] > 0].astype(np.float64)
    for side in range(2):
        assert ks_2samp(found[:, side], expected[:, side]).pvalue > 1e-3


def test_cpss_boxes_follow_french_et_als_law() -> None:
    height, width = 240, 320
    boxes = mixing.draw_boxes("cps", 4000, height, width, rng(1, "mix")).reshape(-1, 4)
    top, left, bottom, right = boxes.T
    h, w = (bottom - top) / height, (right - left) / width
    share = 3 * h * w
    assert share.min() > 0.24 and share.max() < 0.51 and abs(share.mean() - 0.375) < 0.005
    assert (np.maximum(h, w) <= 3**-0.5 + 0.005).all()
    # The height is p^u, so that u = log(h √3) / log(p) is uniform.
    inner = (share > 0.26) & (share < 0.49)
    u = np.log(h * 3**0.5)[inner] / np.log(share)[inner]
    assert abs(u.mean() - 0.5) < 0.02 and abs(u.std() - 12**-0.5) < 0.02
    assert (top >= 0).all() and (left >= 0).all() and (bottom <= height).all() and (right <= width).all()


def test_augsegs_boxes_are_cutmixs_with_a_beta_law() -> None:
    height, width = 200, 300
    top, left, bottom, right = mixing.draw_boxes("augseg", 6000, height, width, rng(1, "mix"))[:, 0].T
    assert (top >= 0).all() and (top <= bottom).all() and (bottom <= height).all()
    assert (left >= 0).all() and (left <= right).all() and (right <= width).all()
    whole = (top > 0) & (left > 0) & (bottom < height) & (right < width)
    assert abs(((bottom - top) / height - (right - left) / width)[whole]).max() < 0.01  # the image's shape
    centre = (left + right)[whole] / 2 / width
    assert abs(centre.mean() - 0.5) < 0.02
    share = rng(2, "test").beta(4, 4, 4000)  # of those near the corner two sides are cut off; drawn one by one:
    drawn = [
        (min(x + s / 2, 1) - max(x - s / 2, 0)) * (min(y + s / 2, 1) - max(y - s / 2, 0))
        for s, x, y in zip(share**0.5, *rng(3, "test").random((2, 4000)), strict=True)
    ]
    found = (bottom - top) * (right - left) / (height * width)
    assert ks_2samp(found, drawn).pvalue > 1e-4


def test_boxes_that_overlap_cancel_each_other_against_a_loop() -> None:
    boxes = mixing.draw_boxes("cps", 20, 30, 40, rng(3, "mix"))
    expected = torch.zeros(20, 30, 40, dtype=torch.bool)
    for i, of_image in enumerate(boxes.tolist()):
        for top, left, bottom, right in of_image:
            expected[i, top:bottom, left:right] ^= True
    assert torch.equal(mixing.box_mask("cps", 20, 30, 40, rng(3, "mix"), torch.device("cpu")), expected)


@pytest.mark.parametrize("boxes", get_args(mixing.Boxes))
def test_cutmix_pastes_within_any_kind_of_boxes(boxes: mixing.Boxes) -> None:
    triple = example()
    keep = ~mixing.box_mask(boxes, 3, 12, 17, rng(5, "mix"), torch.device("cpu"))
    assert same(mixing.mix("cutmix", *triple, rng(5, "mix"), boxes=boxes), by_hand(triple, keep, None))


def test_none_and_a_batch_of_one() -> None:
    triple = example()
    assert same(mixing.mix("none", *triple, rng(0, "mix")), triple)
    one = example(count=1)
    assert same(mixing.mix("classmix", *one, rng(0, "mix")), one)
    assert same(mixing.mix("cutmix", *one, rng(0, "mix")), one)
    assert not same(mixing.mix("cutout", *one, rng(0, "mix")), one)


@pytest.mark.parametrize("kind", ["classmix", "cutmix", "cutout"])
def test_inputs_stay_and_draws_repeat(kind: mixing.Mix) -> None:
    triple = example()
    before = tuple(t.clone() for t in triple)
    first = mixing.mix(kind, *triple, rng(7, "mix"))
    assert same(first, mixing.mix(kind, *triple, rng(7, "mix")))
    assert not same(first, mixing.mix(kind, *triple, rng(8, "mix")))
    assert same(triple, (before[0], before[1], before[2]))


@pytest.mark.parametrize("kind", ["classmix", "cutmix", "cutout"])
def test_no_host_sync(kind: mixing.Mix) -> None:
    """Fake tensors hold no data: whatever asks for a value on the host fails."""
    with FakeTensorMode() as fake:
        triple = [fake.from_tensor(t) for t in example()]
        mixed = mixing.mix(kind, triple[0], triple[1], triple[2], rng(0, "mix"))
    assert [t.shape for t in mixed] == [t.shape for t in triple]
