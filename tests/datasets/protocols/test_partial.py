"""The protocol of partial labels against real dilations, and all the way into a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from bench.arrays import IGNORE_INDEX, UInt8
from bench.errors import BenchError
from bench.registry import get
from bench.seeds import rng
from bench.spec.cell import resolve_part
from bench.spec.resources import Resources
from bench.spec.sections import Schedule
from bench.train.loader import Loader
from bench.train.reader import Reader
from datasets.protocols.partial import Partial, PartialConfig, draw_pixels
from methods.teacher import with_visible_labels
from tests.methods.fakes import batch, method
from tests.methods.test_rc2l import method as rc2l_method


def dilated(mask: UInt8, share: float, draw: np.random.Generator) -> Any:
    """The authors' procedure as they wrote it: dilate until the class's share is reached, class by class."""
    chosen = np.zeros(mask.shape, bool)
    for index in sorted(set(mask.flatten().tolist()) - {IGNORE_INDEX}):
        inside = mask == index
        places = np.argwhere(inside)
        grown = np.zeros(mask.shape, bool)
        grown[tuple(places[int(draw.integers(len(places)))])] = True
        while (grown & inside).sum() < int(share * inside.sum()):
            grown = binary_dilation(grown, np.ones((5, 5), bool))
        chosen |= grown & inside
    return chosen


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.05, 0.25, 0.9]))
def test_the_drawn_pixels_are_those_of_repeated_dilation(seed: int, share: float) -> None:
    make = np.random.default_rng(seed)
    coarse = make.choice([0, 1, 2, 3, IGNORE_INDEX], (5, 7)).astype(np.uint8)
    mask = coarse.repeat(make.integers(1, 9), 0).repeat(make.integers(1, 9), 1)
    mask[make.random(mask.shape) < 0.1] = 3  # a class in many pieces
    np.testing.assert_array_equal(draw_pixels(mask, share, rng(seed, "x")), dilated(mask, share, rng(seed, "x")))


def test_shares_hold_and_one_pixel_is_one_pixel() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[:, 40:] = 1
    mask[0] = IGNORE_INDEX
    for pixels, least in (("1px", 1), ("1%", 23), ("25%", 590)):
        seen = Partial(PartialConfig(pixels=pixels)).visible("a", mask, 0)
        counts = [int((seen == c).sum()) for c in (0, 1)]
        assert all(n >= least for n in counts)
        assert (pixels != "1px") or counts == [1, 1]
        assert (seen[0] == IGNORE_INDEX).all()
        assert ((seen == IGNORE_INDEX) | (seen == mask)).all()
    protocol = Partial(PartialConfig(pixels="1%"))
    assert (protocol.visible("a", mask, 0) == protocol.visible("a", mask, 0)).all()
    assert (protocol.visible("a", mask, 0) != protocol.visible("a", mask, 1)).any()
    assert (protocol.visible("a", mask, 0) != protocol.visible("b", mask, 0)).any()


def test_the_hash_tells_shares_and_seeds_apart(tmp_path: Path) -> None:
    toy = get("dataset", "toy")(get("dataset", "toy").Config(), tmp_path)
    hashes = {Partial(PartialConfig(pixels=p)).split(toy, s).sha256 for p in ("1px", "1%", "5%") for s in (0, 1)}
    assert len(hashes) == 6
    assert Partial(PartialConfig(pixels="1.0 %")).title == "1%"


@pytest.mark.parametrize("wrong", ["0%", "100%", "2px", "5", "all", 3])
def test_other_shares_are_refused(wrong: object) -> None:
    with pytest.raises(BenchError, match="write 1px, or a percentage"):
        resolve_part("protocol", {"name": "partial", "pixels": wrong}, "g.yaml")


def test_a_batch_carries_the_visible_labels_and_no_others(tmp_path: Path) -> None:
    """The visible labels of the weak view are those of the true mask at the same place; no other label is readable."""
    cls = get("dataset", "toy")
    toy, protocol = cls(cls.Config(), tmp_path), Partial(PartialConfig(pixels="5%"))
    ids = toy.ids("train")
    reader = Reader(toy, ids, 1 << 20, lambda i, m: protocol.visible(i, m, 0))
    augmentation = get("augmentation", "reco")
    transform = augmentation(augmentation.Config(crop_size=32))
    loader = Loader(reader, ids, ids, transform, Schedule(), 0, torch.device("cpu"), Resources(), True)
    made = loader.device_batch(loader.host_batch(3, 0))
    assert made.labelled.partial and made.unlabelled is not None and made.unlabelled.visible_labels is not None
    known = made.unlabelled.visible_labels != IGNORE_INDEX
    assert 0 < known.float().mean() < 0.5
    full = Loader(Reader(toy, ids, 1 << 20), ids, ids, transform, Schedule(), 0, torch.device("cpu"), Resources(), True)
    truth = full.device_batch(full.host_batch(3, 0)).unlabelled
    assert truth is not None and truth.visible_labels is not None
    assert (made.unlabelled.visible_labels[known] == truth.visible_labels[known]).all()
    assert (made.unlabelled.weak == truth.weak).all()


def test_visible_labels_are_truth_in_the_pseudo_label() -> None:
    scores = torch.tensor([[[[0.6, 0.2]], [[0.4, 0.8]]]])  # (1, 2, 1, 2)
    visible = torch.tensor([[[1, IGNORE_INDEX]]])
    confidence, label = with_visible_labels(scores, visible).max(1)
    assert label.tolist() == [[[1, 1]]]
    torch.testing.assert_close(confidence, torch.tensor([[[1.0, 0.8]]]))
    assert with_visible_labels(scores, None) is scores


@pytest.mark.parametrize("name", ["mean_teacher", "classmix", "reco", "rc2l", "supervised"])
def test_every_method_learns_from_partial_labels(name: str) -> None:
    made = batch()
    assert made.unlabelled is not None
    generator = torch.Generator().manual_seed(0)
    shown = torch.rand(made.labelled.label.shape, generator=generator) < 0.1
    label = torch.where(shown, made.labelled.label, IGNORE_INDEX)
    partial = replace(
        made,
        labelled=replace(made.labelled, label=label, partial=True),
        unlabelled=replace(made.unlabelled, visible_labels=label),
    )
    losses = (rc2l_method() if name == "rc2l" else method(name)).losses(partial)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_all_labels_are_not_partial_labels(tmp_path: Path) -> None:
    """Under `full` every image is in both roles too, but no label goes with the unlabelled view."""
    from bench.files import read_json
    from bench.plan.jobs import make_jobs
    from bench.plan.request import Request
    from bench.plan.summary import make_plan
    from bench.run.worker import run_cell
    from tests.conftest import GRID

    path = tmp_path / "g.yaml"
    path.write_text(GRID.replace("[supervised]", "[classmix]").replace("{few_labels: 4}", "full, {partial: 5%}"))
    request = Request(str(path), (), (), tmp_path / "store")
    plan = make_plan(request)
    jobs, _ = make_jobs(plan, plan.cells, request, retry=False)
    for job in jobs:
        run_cell(job)
    full, partial = (read_json(request.store / job.cell_id / "result.json") for job in jobs)
    assert "labelled_pixels" not in full and partial["labelled_pixels"] > 0
    assert full["labelled_images"] == full["unlabelled_images"] == partial["labelled_images"]


def test_under_full_the_loader_gives_no_labels_away(tmp_path: Path) -> None:
    cls = get("dataset", "toy")
    toy = cls(cls.Config(), tmp_path)
    ids = toy.ids("train")
    augmentation = get("augmentation", "reco")
    transform = augmentation(augmentation.Config(crop_size=32))
    reader = Reader(toy, ids, 1 << 20)
    loader = Loader(reader, ids, ids, transform, Schedule(), 0, torch.device("cpu"), Resources())
    made = loader.device_batch(loader.host_batch(0, 0))
    assert made.unlabelled is not None and made.unlabelled.visible_labels is None and not made.labelled.partial
