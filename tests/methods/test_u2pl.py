"""U2PL step by step against plain PyTorch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.seeds import derive, rng
from methods.base import Batch
from methods.losses.memory_bank import drawn_from
from methods.losses.reco import draw
from methods.mixing import draw_boxes
from methods.u2pl import U2PL, U2PLConfig
from tests.methods.fakes import CLASSES, batch, method
from tests.methods.test_unimatch import labels_of, large, strong_by_hand

ANCHORS, NEGATIVES, SHARE, LEAST = 12, 5, 0.3, 0.27
Pixel = tuple[int, int, int]


def made(**options: Any) -> U2PL:
    sizes = {"representation_dim": 8, "num_anchors": ANCHORS, "num_negatives": NEGATIVES, "bank_size": 60}
    ranks = {"low_rank": 1, "high_rank": 3, "anchor_probability": LEAST, "unreliable": SHARE}
    found = method("u2pl", **{**sizes, **ranks, "new_negatives": 20, "supervised_only": 0, "cutmix_p": 1, **options})
    assert isinstance(found, U2PL)
    return found


def mixed_by_hand(ours: U2PL, item: Batch) -> tuple[Tensor, Tensor]:
    """The teacher labels in evaluation mode; then boxes of the next image, then the rest of the strong view."""
    assert item.unlabelled is not None
    weak = item.unlabelled.weak
    label, _ = labels_of(copy.deepcopy(ours.teacher.model).eval()(weak))
    generator = rng(item.seed, "mix")
    assert generator.random() < 1
    image, label = strong_by_hand(weak, label, torch.ones(label.shape))[:2]
    image, label = image.flip(3), label.flip(2)  # mixing is before the mirror
    mixed = image.clone(), label.clone()
    for i, (top, left, bottom, right) in enumerate(draw_boxes("half", 4, 32, 32, generator)[:, 0].tolist()):
        area = slice(top, bottom), slice(left, right)
        mixed[0][i][(slice(None), *area)] = image[(i + 1) % 4][(slice(None), *area)]
        mixed[1][i][area] = label[(i + 1) % 4][area]
    return mixed[0].flip(3), mixed[1].flip(2)


def small(maps: Tensor) -> Tensor:
    """Every fourth pixel: what nearest neighbour takes of 32 x 32 at a quarter of that."""
    return maps[:, ::4, ::4]


def test_every_loss_by_hand() -> None:
    ours = made()
    before = copy.deepcopy(ours)
    item = replace(batch(), step=5)
    losses = ours.losses(item)
    image, label = mixed_by_hand(before, item)
    both = torch.cat((item.labelled.image, image))
    features = before.student.features(both)  # type: ignore[operator]
    logits = before.student.classify(features)  # type: ignore[operator]
    supervised = F.cross_entropy(large(logits[:4]), item.labelled.label, ignore_index=IGNORE_INDEX)
    torch.testing.assert_close(losses["supervised"], supervised)
    with torch.no_grad():
        teacher = before.teacher.model.features(both)  # type: ignore[operator]
        scores, targets = before.teacher.model.classify(teacher), before.teacher_head.model(teacher)  # type: ignore[operator]
    probability = large(scores[4:]).softmax(1)
    doubt = -(probability * probability.log()).sum(1)
    share = SHARE * (1 - 5 / 20)
    bar = np.percentile(doubt[label != IGNORE_INDEX].double(), 100 * (1 - share), method="nearest")
    kept = (doubt < bar - 1e-7) & (label != IGNORE_INDEX)
    loss = F.cross_entropy(large(logits[4:]), label, ignore_index=IGNORE_INDEX, reduction="none")
    torch.testing.assert_close(losses["unsupervised"], loss[kept].mean() * kept.numel() / kept.sum(), rtol=1e-5, atol=0)
    assert float(ours.take_logged()["reliable"]) == pytest.approx(kept.sum() / (label != IGNORE_INDEX).sum())

    # Each pixel of the decoder's maps, in the order of the batch.
    rows = before.head(features).permute(0, 2, 3, 1).reshape(-1, 8)
    keys = targets.permute(0, 2, 3, 1).reshape(-1, 8)
    p = scores.softmax(1).permute(0, 2, 3, 1).reshape(-1, CLASSES)
    labels = torch.cat((small(item.labelled.label), small(label))).flatten()
    sure = torch.cat((torch.ones(4, 8, 8, dtype=torch.bool), small(kept))).flatten()
    anchors = torch.zeros(CLASSES, len(rows), dtype=torch.bool)
    negatives = torch.zeros_like(anchors)
    for pixel in range(len(rows)):
        if int(labels[pixel]) == IGNORE_INDEX:
            continue
        ranked = sorted(range(CLASSES), key=lambda c: -float(p[pixel, c]))
        for c in range(CLASSES):
            own, rank = int(labels[pixel]) == c, ranked.index(c)
            anchors[c, pixel] = own and float(p[pixel, c]) > LEAST and bool(sure[pixel])
            labelled = pixel < len(rows) // 2
            negatives[c, pixel] = (not own and rank < 1) if labelled else (not sure[pixel] and 1 <= rank < 3)
    order = torch.from_numpy(rng(item.seed, "order").random(len(rows), np.float32))
    index, there = drawn_from(negatives, order, 20)
    queues = [F.normalize(keys[index[c][there[c]]], dim=1) for c in range(CLASSES)]
    uniform = draw(CLASSES, ANCHORS, NEGATIVES, seed=derive(item.seed, "u2pl")).negative.float()
    index, there = drawn_from(anchors, order, ANCHORS)
    of_classes = []
    for c in range(CLASSES):
        centre = F.normalize(keys[anchors[c]].sum(0), dim=0)
        terms = []
        for m in range(ANCHORS):
            if there[c, m] and len(queues[c]):
                anchor = F.normalize(rows[index[c, m]], dim=0)
                drawn = queues[c][(uniform[c, m] * len(queues[c])).long()]
                similar = torch.cat(((anchor @ centre)[None], drawn @ anchor)) / 0.5
                terms.append(F.cross_entropy(similar[None], torch.zeros(1, dtype=torch.long)))
        if terms:
            of_classes.append(torch.stack(terms).mean())
    assert len(of_classes) > 1
    torch.testing.assert_close(losses["contrast"], 0.1 * torch.stack(of_classes).mean(), rtol=1e-4, atol=1e-6)


def test_it_begins_with_labelled_images_alone() -> None:
    ours = made(supervised_only=0.25)
    assert [list(ours.losses(replace(batch(), step=step))) for step in (0, 4)] == [["supervised"]] * 2
    assert list(ours.losses(replace(batch(), step=5))) == ["supervised", "unsupervised", "contrast"]


def test_some_batches_are_mixed_whole_and_others_not_at_all() -> None:
    ours, item = made(cutmix_p=0.5), batch()
    found = []
    for seed in range(40):
        image = ours.unlabelled_target(replace(item, seed=seed)).image
        differs = (image - strong_by_hand(item.unlabelled.weak, image[:, 0], image[:, 0])[0]).abs().flatten(1).amax(1)  # type: ignore[union-attr]
        assert bool((differs > 0).all()) or bool((differs == 0).all())
        found.append(bool((differs > 0).all()))
    assert 10 < sum(found) < 30


def test_all_labels_are_reliable_at_the_end_and_where_none_is_to_be_left_out() -> None:
    first, last = made(), made()
    first.losses(replace(batch(), step=0))
    last.losses(replace(batch(), step=19))
    assert float(first.take_logged()["reliable"]) == pytest.approx(1 - SHARE, abs=0.01)
    assert float(last.take_logged()["reliable"]) == pytest.approx(1 - SHARE / 20, abs=0.01)
    every = made(unreliable=0)
    every.losses(batch())
    assert float(every.take_logged()["reliable"]) == 1


def test_what_fills_a_view_is_no_label() -> None:
    ours, item = made(), batch()
    assert item.unlabelled is not None
    extents = np.array([[0, 0, 32, 32], [4, 0, 32, 20], [0, 0, 16, 16], [8, 8, 32, 32]])
    target = ours.unlabelled_target(replace(item, unlabelled=replace(item.unlabelled, extents=extents)))
    whole = ours.unlabelled_target(item)
    shown = torch.zeros(4, 32, 32, dtype=torch.bool)
    for i, (top, left, bottom, right) in enumerate(extents.tolist()):
        shown[i, top:bottom, left:right] = True
    filled = (whole.label != IGNORE_INDEX) & (target.label == IGNORE_INDEX)
    assert filled.any() and (target.confidence[filled] == 0).all()
    assert int(filled.sum()) < int((~shown).sum()) * 2


def test_the_teachers_head_follows() -> None:
    ours = made()
    torch.autograd.backward(list(ours.losses(batch()).values()))
    with torch.no_grad():
        for p in ours.head.parameters():
            p.add_(1)
    ours.after_step(0)
    pairs = zip(ours.teacher_head.model.parameters(), ours.head.parameters(), strict=True)
    assert all(torch.equal(own, new) for own, new in pairs)
    assert all(p.grad is None for p in ours.teacher_head.parameters())
    assert all(p.grad is not None for p in ours.head.parameters())


def test_ranks_that_span_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="low_rank must be below high_rank, and 3 isn't below 3"):
        U2PLConfig(low_rank=3, high_rank=3)
