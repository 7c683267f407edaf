"""ReCo's procedure against a plain re-derivation on made-up masks, and where it can't go on."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pydantic import ValidationError

from bench import registry
from bench.arrays import UInt8
from bench.errors import BenchError
from bench.seeds import rng
from datasets.base import FewLabelsProcedure
from datasets.protocols.few_labels import FewLabels, FewLabelsConfig
from datasets.split import Split
from tests.datasets.made import Listed, presence

Masks = dict[str, UInt8]


def make_masks(count: int, num_classes: int, seed: int) -> Masks:
    """Small masks with some void; a high class is rare."""
    draw = rng(seed, "masks")
    rarity = 1 / np.arange(1, num_classes + 1)
    masks = {}
    for index in range(count):
        some = draw.choice(num_classes, size=draw.integers(1, num_classes), replace=False, p=rarity / rarity.sum())
        masks[f"im{index:03d}"] = draw.choice(np.append(some, 255), size=(6, 6)).astype(np.uint8)
    return masks


def as_dataset(masks: Masks, num_classes: int) -> Listed:
    return Listed({i: [int(v) for v in np.unique(m) if v != 255] for i, m in masks.items()}, num_classes)


def rederived(masks: Masks, num_classes: int, labels: int, least: int, seed: int) -> tuple[list[str] | None, int]:
    """Follow the description step by step, on masks; return (ids or None where it would never end, passes begun)."""
    queue = sorted(masks)
    random.Random(seed).shuffle(queue)
    later: list[str] = []
    taken: list[str] = []
    seen = np.zeros(num_classes)
    passes, idle = 1, 0
    while len(taken) < labels:
        if len(queue) == 0:
            if len(later) == 0 or idle > len(later):
                return None, passes
            queue, later, passes = later, [], passes + 1
        name = queue[-1]
        queue = queue[:-1]
        inside = [c for c in range(num_classes) if (masks[name] == c).any()]
        wanted = [c for c in range(num_classes) if seen[c] == seen.min()]
        first = len(taken) == 0
        if len(inside) >= least and (first or any(c in wanted for c in inside)):
            taken.append(name)
            idle = 0
            for c in inside:
                seen[c] += 1
        else:
            later.append(name)
            idle += 1
    return taken, passes


def draw(dataset: Listed, labels: int, seed: int, min_classes: int | None = None) -> Split:
    return FewLabels(FewLabelsConfig(labels=labels, min_classes=min_classes)).split(dataset, seed)


def test_against_a_rederivation() -> None:
    used_up = ended = endless = 0
    for seed in range(40):
        masks = make_masks(60, 6, seed)
        dataset = as_dataset(masks, 6)
        for labels, least in ((1, 3), (6, 1), (12, 3), (25, 2), (40, 1)):
            expected, passes = rederived(masks, 6, labels, least, seed)
            if expected is None:
                endless += 1
                with pytest.raises(BenchError, match=f"few_labels' {labels}: of 60 training images"):
                    draw(dataset, labels, seed, least)
                continue
            ended, used_up = ended + 1, used_up + (passes > 1)
            split = draw(dataset, labels, seed, least)
            assert list(split.labelled) == expected
            assert list(split.unlabelled) == [i for i in sorted(masks) if i not in expected]
    assert ended > 100 and used_up > 10 and endless > 10


def test_by_hand() -> None:
    """Shuffled with seed 0, [a, b, c, d] becomes [c, a, b, d]; popped from the end: d, b, a, c."""
    order = ["a", "b", "c", "d"]
    random.Random(0).shuffle(order)
    assert order == ["c", "a", "b", "d"]
    dataset = Listed({"a": (0, 1), "b": (0, 1), "c": (0, 2), "d": (0, 1)})
    assert draw(dataset, 1, 0).labelled == ("d",)
    # Class 2 is then seen least: b and a wait, c is taken. Then 1 and 2 are seen least: a, set aside last, comes first.
    assert draw(dataset, 3, 0).labelled == ("d", "c", "a")
    assert draw(dataset, 3, 0).unlabelled == ("b",)


def test_fewer_labels_are_the_beginning() -> None:
    dataset = as_dataset(make_masks(80, 5, 1), 5)
    long = draw(dataset, 20, 7).labelled
    assert all(draw(dataset, n, 7).labelled == long[:n] for n in range(1, 20))


def test_every_labelled_image_has_enough_classes() -> None:
    dataset = as_dataset(make_masks(80, 5, 2), 5)
    assert min(len(presence(dataset)[i]) for i in draw(dataset, 10, 0, 4).labelled) >= 4


def test_the_least_number_of_classes_is_the_datasets_own() -> None:
    class Picky(Listed):
        @property
        def few_labels_min_classes(self) -> int:
            return 2

    dataset = Picky({"a": (0,), "b": (0, 1), "c": (1,), "d": (0, 1)})
    assert set(draw(dataset, 2, 0).labelled) == {"b", "d"}
    assert "a" in {i for seed in range(9) for i in draw(dataset, 1, seed, min_classes=1).labelled}


def test_a_class_that_no_qualifying_image_has_is_not_waited_for() -> None:
    dataset = Listed({"a": (0, 1), "b": (0, 1), "c": (0, 1), "d": (2,)}, num_classes=4)
    assert len(draw(dataset, 2, 0, min_classes=2).labelled) == 2


def test_too_many() -> None:
    dataset = Listed({"a": (0, 1), "b": (0,), "c": (0,), "d": (0,)})
    with pytest.raises(BenchError, match=r"there are 4 training images; ask for fewer"):
        draw(dataset, 4, 0)
    with pytest.raises(BenchError, match=r"of 4 training images 1 qualify \(at least 2 classes\)"):
        draw(dataset, 3, 0, min_classes=2)
    with pytest.raises(BenchError, match=r"of 4 training images 0 qualify"):
        draw(dataset, 1, 0, min_classes=3)
    with pytest.raises(BenchError, match=r"of 4 training images 4 qualify .*seen least so far"):
        draw(dataset, 3, 0)  # b, c and d lack class 1, which a alone has


class PerClass(Listed):
    """A dataset whose labels are drawn from a list per class."""

    @property
    def few_labels_procedure(self) -> FewLabelsProcedure:
        return "class_lists"


def rederived_per_class(
    presence: dict[str, frozenset[int]], num_classes: int, labels: int, seed: int
) -> tuple[list[str] | None, int]:
    """Follow the authors' code for SUN RGB-D step by step; return ids, None where it fails, and how many classes it gave up.

    A class is given up when its list turns out to be empty; `wanted` (the classes seen least) is made anew at each new
    image only, and loses the classes given up: where it loses its last one, the authors' code fails.
    """
    order = list(presence)
    random.Random(seed).shuffle(order)
    waiting = [[i for i in order if c in presence[i]] for c in range(num_classes)]
    seen, given_up = np.zeros(num_classes), np.zeros(num_classes, dtype=bool)
    wanted = list(range(num_classes))
    taken: list[str] = []
    while len(taken) < labels:
        if not wanted:
            return None, int(given_up.sum())
        if waiting[wanted[0]]:
            image_id = waiting[wanted[0]].pop()
            if image_id not in taken:
                taken.append(image_id)
                seen[sorted(presence[image_id])] += 1
                wanted = [c for c in range(num_classes) if seen[c] == seen[~given_up].min()]
        else:
            given_up[wanted[0]] = True
        wanted = [c for c in wanted if not given_up[c]]
    return taken, int(given_up.sum())


def test_per_class_against_a_rederivation() -> None:
    ends = fails = without = 0
    for seed in range(60):
        listed = presence(as_dataset(make_masks(15, 7, seed), 7))
        dataset = PerClass({i: sorted(found) for i, found in listed.items()}, 7)
        for labels in range(1, 15):
            expected, given_up = rederived_per_class(listed, 7, labels, seed)
            if expected is None:
                fails += 1
                continue
            ends, without = ends + 1, without + (given_up > 0)
            assert list(draw(dataset, labels, seed).labelled) == expected
    assert ends > 100 and fails > 10 and without > 10


def test_per_class_by_hand() -> None:
    """Shuffled with seed 0, [a, b, c, d] becomes [c, a, b, d]: class 0 has c, a, b; class 1 has a, d; class 2 has c."""
    dataset = PerClass({"a": (0, 1), "b": (0,), "c": (0, 2), "d": (1,)})
    # Class 0 gives b, class 1 gives d, class 2 gives c (then 0 is seen twice); of the seen once, class 1 gives a.
    assert [draw(dataset, n, 0).labelled for n in (1, 2, 3)] == [("b",), ("b", "d"), ("b", "d", "c")]


def test_per_class_goes_on_where_the_authors_code_fails() -> None:
    """Class 2 alone is seen least and its only image is taken: the next class gives one."""
    dataset = PerClass({"a": (0, 1, 2), "b": (0, 1), "c": (0, 1), "d": (0, 1)})
    assert any(rederived_per_class(presence(dataset), 3, 3, seed)[0] is None for seed in range(5))
    for seed in range(5):
        assert len(set(draw(dataset, 3, seed).labelled)) == 3


def test_per_class_too_many() -> None:
    dataset = PerClass({"a": (0,), "b": (0,), "c": (), "d": ()})
    with pytest.raises(BenchError, match=r"of 4 training images 2 qualify \(at least 1 classes\)"):
        draw(dataset, 3, 0)
    assert set(draw(PerClass({"a": (0, 1), "b": (0,), "c": (1,)}), 1, 0, min_classes=2).labelled) == {"a"}


def test_options() -> None:
    assert FewLabels(FewLabelsConfig(labels=20)).title == "20"
    for bad in ({}, {"labels": 0}, {"labels": 3, "min_classes": 0}, {"labels": 1.5}):
        with pytest.raises(ValidationError):
            FewLabelsConfig.model_validate(bad)
    assert registry.get("protocol", "few_labels") is FewLabels
    assert FewLabels.shorthand in FewLabelsConfig.model_fields
