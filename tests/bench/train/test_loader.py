from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import registry
from bench.arrays import UInt8
from bench.seeds import rng
from bench.spec.resources import Resources
from bench.spec.sections import Batch as BatchSize
from bench.spec.sections import Schedule
from bench.train.loader import Loader
from bench.train.reader import Images, Reader
from methods.base import Batch

CPU = torch.device("cpu")


def loader(tmp_path: Path, unlabelled: int = 20, accumulate: int = 1, **resources: int) -> Loader:
    toy = registry.get("dataset", "toy")
    dataset = toy(toy.Config(), tmp_path)
    ids = dataset.ids("train")
    augmentation = registry.get("augmentation", "reco")
    schedule = Schedule(iterations=6, batch=BatchSize(labelled=4, unlabelled=4), accumulate=accumulate)
    return Loader(
        Reader(dataset, ids[:4], resources.pop("budget", 1 << 20)),
        ids[:4],
        ids[4 : 4 + unlabelled],
        augmentation(augmentation.Config(crop_size=32)),
        schedule,
        5,
        CPU,
        Resources(**resources),
    )


def drain(made: Loader, start: int = 0) -> list[Batch]:
    return [batch for step in made.steps(start) for batch in step]


def same(a: Batch, b: Batch) -> bool:
    assert a.unlabelled is not None
    assert b.unlabelled is not None
    pairs = [(a.labelled.image, b.labelled.image), (a.labelled.label, b.labelled.label)]
    pairs += [(a.unlabelled.weak, b.unlabelled.weak)]
    pseudo = torch.zeros(len(a.unlabelled.weak), 32, 32, dtype=torch.long)
    strong = [batch.unlabelled.strong.geometric(batch.unlabelled.weak, (pseudo, 255)) for batch in (a, b)]  # type: ignore[union-attr]
    pairs += list(zip(*strong, strict=True))
    return (a.step, a.seed) == (b.step, b.seed) and all(torch.equal(x, y) for x, y in pairs)


def test_neither_threads_nor_cache_nor_where_it_starts_change_a_batch(tmp_path: Path) -> None:
    plain = drain(loader(tmp_path, loader_threads=1, prefetch=1))
    assert len(plain) == 6
    for other in (
        drain(loader(tmp_path, loader_threads=4, prefetch=6)),
        drain(loader(tmp_path, budget=0)),
    ):
        assert all(same(a, b) for a, b in zip(plain, other, strict=True))
    assert all(same(a, b) for a, b in zip(plain[3:], drain(loader(tmp_path), start=3), strict=True))


class Meeting:
    """Images that are read only when as many threads as are wanted want one at the same time."""

    def __init__(self, reader: Images, threads: int) -> None:
        self.reader, self.barrier = reader, threading.Barrier(threads)

    def image(self, image_id: str) -> UInt8:
        self.barrier.wait(timeout=20)
        return self.reader.image(image_id)

    def mask(self, image_id: str) -> UInt8:
        return self.reader.mask(image_id)


def test_all_threads_work_on_one_batch(tmp_path: Path) -> None:
    made = loader(tmp_path, loader_threads=8, prefetch=1)
    plain = drain(loader(tmp_path, loader_threads=1, prefetch=1))
    made.reader = Meeting(made.reader, 8)  # the images of one batch
    assert all(same(a, b) for a, b in zip(plain, drain(made), strict=True))


def test_no_more_batches_are_made_than_prefetch_says(tmp_path: Path) -> None:
    made = loader(tmp_path, loader_threads=4, prefetch=2)
    read, image = list[str](), made.reader.image

    def noted(image_id: str) -> UInt8:
        read.append(image_id)
        return image(image_id)

    made.reader.image = noted  # type: ignore[method-assign]
    steps = made.steps(0)
    for taken in range(1, 4):
        list(next(steps))
        time.sleep(0.2)  # threads could go on in the meantime
        assert len(read) == 8 * min(taken + 2, 6)
    steps.close()  # type: ignore[attr-defined]


def test_micro_batches_hold_the_images_of_the_whole_batch(tmp_path: Path) -> None:
    whole, halves = drain(loader(tmp_path)), drain(loader(tmp_path, accumulate=2))
    assert len(halves) == 2 * len(whole)
    for step, batch in enumerate(whole):
        both = halves[2 * step : 2 * step + 2]
        assert torch.allclose(torch.cat([h.labelled.image for h in both]), batch.labelled.image)
        assert both[0].seed != both[1].seed


def with_partner(tmp_path: Path, accumulate: int = 1) -> Loader:
    plain = loader(tmp_path, accumulate=accumulate)
    parts = plain.reader, plain.labelled, plain.unlabelled, plain.augmentation, plain.schedule, plain.seed, CPU
    return Loader(*parts, Resources(), strong_views=2, partner=True)


def test_partners_and_further_views_are_drawn_apart_and_leave_the_first_as_they_are(tmp_path: Path) -> None:
    plain, more = drain(loader(tmp_path)), drain(with_partner(tmp_path))
    for a, b in zip(plain, more, strict=True):
        assert a.unlabelled is not None and b.unlabelled is not None
        partner = b.unlabelled.partner
        assert a.unlabelled.partner is None and partner is not None and partner.partner is None
        assert torch.equal(a.unlabelled.weak, b.unlabelled.weak)
        first, second = b.unlabelled.strong_views
        views = [view.photometric(a.unlabelled.weak)[0] for view in (a.unlabelled.strong, first, second)]
        assert torch.equal(views[0], views[1])
        assert not torch.equal(views[1], views[2])
        assert not torch.equal(partner.strong_views[0].photometric(a.unlabelled.weak)[0], views[1])
        assert partner.weak.shape == b.unlabelled.weak.shape
    weak = [batch.unlabelled for batch in more if batch.unlabelled is not None]
    assert all(not torch.equal(one.weak, one.partner.weak) for one in weak if one.partner is not None)
    assert with_partner(tmp_path).images_per_step == 4 + 2 * 4


def test_micro_batches_hold_the_partners_of_the_whole_batch(tmp_path: Path) -> None:
    whole, halves = drain(with_partner(tmp_path)), drain(with_partner(tmp_path, accumulate=2))
    for step, batch in enumerate(whole):
        both = [half.unlabelled for half in halves[2 * step : 2 * step + 2]]
        assert batch.unlabelled is not None and batch.unlabelled.partner is not None
        partners = torch.cat([one.partner.weak for one in both if one is not None and one.partner is not None])
        assert torch.allclose(partners, batch.unlabelled.partner.weak)


def test_methods_without_unlabelled_images_get_none(tmp_path: Path) -> None:
    assert all(batch.unlabelled is None for batch in drain(loader(tmp_path, unlabelled=0)))


def test_an_error_while_reading_reaches_the_loop(tmp_path: Path) -> None:
    made = loader(tmp_path)
    assert isinstance(made.reader, Reader)
    made.reader.masks_of = frozenset()
    with pytest.raises(PermissionError):
        drain(made)


def test_images_and_labels_have_the_promised_types_and_ranges(tmp_path: Path) -> None:
    batch = drain(loader(tmp_path))[0]
    assert batch.unlabelled is not None
    for image in (batch.labelled.image, batch.unlabelled.weak):
        assert image.dtype == torch.float32
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert set(np.unique(batch.labelled.label)) <= {0, 1, 2, 255}


def test_weak_view_is_a_plain_crop(tmp_path: Path) -> None:
    made = loader(tmp_path)
    batch = drain(made)[0]
    assert batch.unlabelled is not None
    slot, image_id = made._pick("unlabelled", made.unlabelled, 4, 0, 0)[2]
    view = made.augmentation.weak_view(made.reader.image(image_id), rng(5, "unlabelled", "view", 0, slot))
    expected = torch.from_numpy(view).permute(2, 0, 1).float() / 255
    assert torch.allclose(batch.unlabelled.weak[2], expected)
