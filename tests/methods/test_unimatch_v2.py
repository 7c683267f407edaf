"""UniMatch V2 step by step against plain PyTorch, and its complementary channels one by one."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.check.cell import part_of
from bench.check.methods import method_checks
from bench.check.outcomes import outcomes
from bench.errors import BenchError
from bench.seeds import rng
from methods.base import Build
from methods.mixing import draw_boxes
from methods.unimatch_v2 import UniMatchV2, UniMatchV2Config, complementary
from tests.methods.fakes import CLASSES, batch, method
from tests.methods.test_unimatch import Maps, labels_of, large, loss_by_hand, strong_by_hand


def made(**options: Any) -> UniMatchV2:
    found = method("unimatch_v2", **{"threshold": 0.3, **options})
    assert isinstance(found, UniMatchV2)
    return found


def pasted_from_the_other_end(own: Maps, seed: int, number: int) -> Maps:
    image, label, confidence = (values.clone() for values in own)
    boxes = draw_boxes("unimatch", len(label), 32, 32, rng(seed, "mix", number))[:, 0]
    assert (boxes[:, 2] > 0).any()
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        area = slice(top, bottom), slice(left, right)
        partner = len(label) - 1 - i
        image[i, :, area[0], area[1]] = own[0][partner, :, area[0], area[1]]
        label[i, area[0], area[1]] = own[1][partner, area[0], area[1]]
        confidence[i, area[0], area[1]] = own[2][partner, area[0], area[1]]
    return image, label, confidence


def test_every_loss_and_every_gradient_by_hand() -> None:
    ours = made(strong_weight=0.8)
    with torch.no_grad():  # a teacher that isn't the student
        for p in ours.teacher.model.parameters():
            p.mul_(1.05)
    item = batch(asks=ours)
    student, teacher = copy.deepcopy(ours.student), copy.deepcopy(ours.teacher.model)
    losses = ours.losses(item)
    assert item.unlabelled is not None
    with torch.no_grad():
        own = strong_by_hand(item.unlabelled.weak, *labels_of(teacher.eval()(item.unlabelled.weak)))
    views = [pasted_from_the_other_end(own, item.seed, number) for number in (0, 1)]
    labelled = student(item.labelled.image)
    maps = student.encode(torch.cat([view[0] for view in views]))  # type: ignore[operator]
    draw = rng(item.seed, "features")
    whole = draw.permutation(4)[:2].tolist()
    perturbed = []
    for values in maps:
        mask = torch.from_numpy((draw.random((4, values.shape[1])) < 0.5).astype(np.float32)) * 2
        out = values.clone()
        for i in range(4):
            if i not in whole:
                out[i] = values[i] * mask[i][:, None, None]
                out[4 + i] = values[4 + i] * (2 - mask[i])[:, None, None]
        perturbed.append(out)
    of_views = student.classify(student.decode(perturbed)).chunk(2)  # type: ignore[operator]
    strong = [loss_by_hand(x, label, confidence) for x, (_, label, confidence) in zip(of_views, views, strict=True)]
    supervised = F.cross_entropy(large(labelled), item.labelled.label, ignore_index=IGNORE_INDEX)
    expected = {"supervised": supervised / 2, "strong": 0.8 * (strong[0] + strong[1]) / 4}
    assert list(losses) == list(expected)
    for key, value in losses.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-6)
    torch.autograd.backward(list(losses.values()))
    torch.autograd.backward(list(expected.values()))
    for (key, p), q in zip(ours.student.named_parameters(), student.named_parameters(), strict=True):
        assert p.grad is not None and q[1].grad is not None
        assert F.cosine_similarity(p.grad.flatten(), q[1].grad.flatten(), dim=0) > 0.99999, key
    assert all(p.grad is None for p in ours.teacher.parameters())


@pytest.mark.parametrize(
    ("share", "count", "dropped"), [(0.5, 6, 3), (0.5, 5, 3), (0.0, 4, 0), (1.0, 4, 4), (0.5, 1, 1)]
)
def test_channels_are_complementary(share: float, count: int, dropped: int) -> None:
    maps = [torch.ones(2 * count, width, 2, 3) for width in (40, 40, 24)]
    found = complementary(maps, share, rng(0, "test"))
    images = {i for i in range(count) if not torch.equal(found[0][i], maps[0][i])}
    assert len(images) == dropped
    for values in found:
        first, second = values[:count], values[count:]
        assert torch.equal(first + second, torch.full_like(first, 2))
        for i in range(count):
            seen = set(torch.unique(first[i]).tolist())
            assert seen == ({0.0, 2.0} if i in images else {1.0})
            assert (first[i] == first[i, :, :1, :1]).all()  # whole channels
    assert torch.equal(found[0], found[1])  # maps of one width lose the same channels
    if dropped > 1:
        rows = [found[0][i, :, 0, 0] for i in sorted(images)]
        assert not torch.equal(rows[0], rows[1])


def test_half_of_the_channels_are_kept_on_average() -> None:
    kept = complementary([torch.ones(400, 50, 1, 1)], 1.0, rng(1, "test"))[0][:200] > 0
    assert abs(kept.float().mean().item() - 0.5) < 4 * 0.5 / 10_000**0.5


def test_the_teacher_labels_in_evaluation_mode_and_follows() -> None:
    ours, item = made(), batch(asks=made())
    before = copy.deepcopy(ours.teacher.model.state_dict())
    torch.autograd.backward(list(ours.losses(item).values()))
    assert all(torch.equal(value, before[name]) for name, value in ours.teacher.model.state_dict().items())
    with torch.no_grad():
        for p in ours.student.parameters():
            p.add_(1)
    ours.after_step(999)
    weight = 1 - 0.996
    for (name, own), new in zip(ours.teacher.model.named_parameters(), ours.student.parameters(), strict=True):
        torch.testing.assert_close(own, torch.lerp(before[name], new, weight))
    assert ours.predictor is ours.teacher.model
    assert made(predict_with="student").predictor is not None


def test_what_fills_a_view_is_no_label() -> None:
    ours = made(boxes="half")
    item = batch(asks=ours)
    assert item.unlabelled is not None
    nothing = np.zeros((4, 4), np.int64)
    views, share = ours.strong_targets(replace(item, unlabelled=replace(item.unlabelled, extents=nothing)))
    assert all((view.label == IGNORE_INDEX).all() and not view.confidence.any() for view in views)
    assert float(share) == 0


def test_a_network_without_maps_to_perturb_is_refused() -> None:
    plain = torch.nn.Conv2d(3, CLASSES, 1)
    with pytest.raises(BenchError, match=r"'unimatch_v2' perturbs what an encoder gives .* or 'dpt'"):
        UniMatchV2(UniMatchV2Config(), Build(CLASSES, lambda: plain, 0))


def test_on_dpt_with_a_tiny_transformer_it_keeps_every_contract() -> None:
    network = part_of("network", "dpt", {"backbone": "timm/test_vit"})
    found = list(outcomes(method_checks(part_of("method", "unimatch_v2", {"threshold": 0.3}), network)))
    bad = [outcome.line for outcome in found if outcome.verdict != "ok" and outcome.name != "learns"]
    assert not bad
