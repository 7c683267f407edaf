"""FixMatch and UniMatch step by step against plain PyTorch, and each of their ingredients."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from bench.seeds import rng
from methods.base import Batch, Build, Ohem, Unlabelled
from methods.fixmatch import FixMatch, labelled_by
from methods.losses.segmentation import confident_loss
from methods.mixing import draw_boxes
from methods.unimatch import UniMatch, UniMatchConfig, drop_channels
from tests.methods.fakes import CLASSES, SHIFT, FakeStrong, batch, method, network

THRESHOLD = 0.3
Maps = tuple[Tensor, Tensor, Tensor]


def made(name: str, **options: Any) -> FixMatch:
    found = method(name, **{"threshold": THRESHOLD, **options})
    assert isinstance(found, FixMatch)
    return found


def large(logits: Tensor) -> Tensor:
    return F.interpolate(logits, size=(32, 32), mode="bilinear", align_corners=True)


def strong_by_hand(image: Tensor, label: Tensor, confidence: Tensor) -> Maps:
    """What FakeStrong does to a weak view and its maps, written otherwise."""

    def moved(maps: Tensor, fill: float) -> Tensor:
        return F.pad(maps[..., :-SHIFT].float(), (SHIFT, 0), value=fill).flip(-1)

    return (image.roll(SHIFT, 3) * 0.9).flip(3), moved(label, IGNORE_INDEX).long(), moved(confidence, 0)


def pasted(own: Maps, other: Maps, seed: int, number: int) -> Maps:
    """CutMix pixel block by pixel block."""
    image, label, confidence = (values.clone() for values in own)
    boxes = draw_boxes("unimatch", len(label), 32, 32, rng(seed, "mix", number))[:, 0]
    assert (boxes[:, 2] > 0).any()
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        area = slice(top, bottom), slice(left, right)
        image[i, :, area[0], area[1]] = other[0][i, :, area[0], area[1]]
        label[i, area[0], area[1]] = other[1][i, area[0], area[1]]
        confidence[i, area[0], area[1]] = other[2][i, area[0], area[1]]
    return image, label, confidence


def loss_by_hand(logits: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
    loss = F.cross_entropy(large(logits), label, ignore_index=IGNORE_INDEX, reduction="none")
    valid = label != IGNORE_INDEX
    return (loss * ((confidence >= THRESHOLD) & valid)).sum() / valid.sum()


def labels_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    confidence, label = large(logits.detach()).softmax(1).max(1)
    return label, confidence


def by_hand(student: nn.Module, item: Batch, views: int, dropped: bool, roll: bool = False) -> dict[str, Tensor]:
    """The losses of the paper's formulas, with the authors' order of passes through the network."""
    unlabelled = item.unlabelled
    assert unlabelled is not None
    student.eval()
    if unlabelled.partner is not None:
        with torch.no_grad():
            partner = (unlabelled.partner.weak, *labels_of(student(unlabelled.partner.weak)))
    student.train()
    count = len(unlabelled.weak)
    maps = student.encode(torch.cat((item.labelled.image, unlabelled.weak)))  # type: ignore[operator]
    if dropped:
        draw = rng(item.seed, "features")
        masks = [torch.from_numpy(draw.random(values.shape[:2], np.float32) >= 0.5) for values in maps]
        maps = [torch.cat((x, x * m[:, :, None, None] * 2)) for x, m in zip(maps, masks, strict=True)]
    logits = student.classify(student.decode(maps))  # type: ignore[operator]
    labelled, weak = logits[:count], logits[count : 2 * count]
    target = labels_of(weak)
    own = strong_by_hand(unlabelled.weak, *target)
    other: Maps = tuple(x.roll(-1, 0) for x in own) if roll else strong_by_hand(*partner)  # type: ignore[assignment]
    mixed = [pasted(own, other, item.seed, number) for number in range(views)]
    of_views = student(torch.cat([image for image, _, _ in mixed])).chunk(views)
    strong = [loss_by_hand(x, label, confidence) for x, (_, label, confidence) in zip(of_views, mixed, strict=True)]
    supervised = F.cross_entropy(large(labelled), item.labelled.label, ignore_index=IGNORE_INDEX)
    if not dropped:
        return {"supervised": supervised / 2, "strong": strong[0] / 2}
    features = loss_by_hand(logits[3 * count :], *target)
    return {"supervised": supervised / 2, "strong": (strong[0] + strong[1]) / 8, "features": features / 4}


@pytest.mark.parametrize(
    ("name", "views", "dropped", "options"),
    [("fixmatch", 1, False, {}), ("fixmatch", 1, False, {"partner": "roll"}), ("unimatch", 2, True, {})],
)
def test_every_loss_and_every_gradient_step_by_step(
    name: str, views: int, dropped: bool, options: dict[str, Any]
) -> None:
    ours = made(name, **options)
    reference = copy.deepcopy(ours.student)
    item = batch(asks=ours)
    losses = ours.losses(item)
    expected = by_hand(reference, item, views, dropped, roll=bool(options))
    assert list(losses) == list(expected)
    for key, value in losses.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-6)
    torch.autograd.backward(list(losses.values()))
    torch.autograd.backward(list(expected.values()))
    for (key, p), q in zip(ours.student.named_parameters(), reference.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        assert F.cosine_similarity(p.grad.flatten(), q.grad.flatten(), dim=0) > 0.99999, key
    for own, other in zip(ours.student.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(own, other)


def test_the_confident_share_is_logged() -> None:
    ours = made("fixmatch")
    item = batch(asks=ours)
    assert item.unlabelled is not None
    logits = copy.deepcopy(ours.student)(torch.cat((item.labelled.image, item.unlabelled.weak)))[4:]
    ours.losses(item)
    logged = ours.take_logged()
    assert float(logged["confident"]) == pytest.approx(float((labels_of(logits)[1] >= THRESHOLD).float().mean()))


def test_the_partners_pass_leaves_the_network_as_it_is() -> None:
    ours = made("unimatch")
    item = batch(asks=ours)
    assert item.unlabelled is not None
    before = copy.deepcopy(ours.student.state_dict())
    target = ours.partner_target(item.unlabelled.partner)
    assert target is not None and not target.label.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(before.values(), ours.student.state_dict().values(), strict=True))
    assert all(module.training for module in ours.student.modules())
    ours.eval()
    ours.partner_target(item.unlabelled.partner)
    assert not any(module.training for module in ours.student.modules())


def test_what_fills_a_view_beyond_its_image_counts_nowhere() -> None:
    logits = torch.randn(2, CLASSES, 8, 8, generator=torch.Generator().manual_seed(0))
    view = Unlabelled(torch.zeros(2, 3, 32, 32), (FakeStrong(),), None, np.array([[0, 0, 32, 32], [0, 10, 20, 32]]))
    target = labelled_by(logits, view)
    inside = torch.ones(2, 32, 32, dtype=torch.bool)
    inside[1, 20:], inside[1, :, :10] = False, False
    assert torch.equal(target.label != IGNORE_INDEX, inside)
    assert torch.equal(target.confidence > 0, inside)
    assert torch.equal(target.label[inside], labels_of(logits)[0][inside])


def test_visible_labels_are_certain() -> None:
    logits = torch.randn(1, CLASSES, 8, 8, generator=torch.Generator().manual_seed(0))
    visible = torch.full((1, 32, 32), IGNORE_INDEX)
    visible[0, 3, 4] = 2
    target = labelled_by(logits, Unlabelled(torch.zeros(1, 3, 32, 32), (), visible))
    assert (int(target.label[0, 3, 4]), float(target.confidence[0, 3, 4])) == (2, 1)


def test_the_loss_of_confident_pixels_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, generator=generator)
    label = torch.randint(4, (2, 5, 6), generator=generator)
    label[0, :2] = 255
    confidence = torch.rand(2, 5, 6, generator=generator)
    total, valid = 0.0, 0
    for i in range(2):
        for y in range(5):
            for x in range(6):
                if label[i, y, x] != 255:
                    valid += 1
                    if confidence[i, y, x] >= 0.6:
                        total -= float(logits[i, :, y, x].log_softmax(0)[label[i, y, x]])
    assert float(confident_loss(logits, label, confidence, 0.6)) == pytest.approx(total / valid, rel=1e-5)
    label.fill_(255)
    assert float(confident_loss(logits, label, confidence, 0.6)) == 0


def test_whole_channels_are_dropped_and_the_mean_stays() -> None:
    maps = [torch.ones(50, 40, 3, 4), torch.ones(50, 30, 1, 2)]
    found = drop_channels(maps, 0.3, rng(0, "features"))
    for before, after in zip(maps, found, strict=True):
        assert before.shape == after.shape
        of_channel = after.flatten(2)
        assert (of_channel == of_channel[:, :, :1]).all()
        assert sorted(set(of_channel.flatten().tolist())) == pytest.approx([0, 1 / 0.7])
        assert abs((of_channel > 0).float().mean() - 0.7) < 0.05
    assert all(torch.equal(a, b) for a, b in zip(found, drop_channels(maps, 0.3, rng(0, "features")), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(maps, drop_channels(maps, 0.0, rng(0, "features")), strict=True))


def test_the_recipes_mining_reaches_the_supervised_loss() -> None:
    plain = made("fixmatch")
    mining = FixMatch(plain.config, Build(CLASSES, network, 0, Ohem(0.01, 100))).train()
    item = batch(asks=plain)
    assert mining.losses(item)["supervised"].item() > plain.losses(item)["supervised"].item()


class Whole(nn.Module):
    """A network that can't be taken apart."""


def test_a_network_that_can_not_be_taken_apart_is_refused() -> None:
    with pytest.raises(BenchError, match="this network has no `encode`"):
        UniMatch(UniMatchConfig(), Build(CLASSES, Whole, 0))


def test_what_the_methods_ask_of_the_loader() -> None:
    assert [(one.strong_views, one.partner_batch) for one in (made("fixmatch"), made("unimatch"))] == [
        (1, True),
        (2, True),
    ]
    assert not made("unimatch", partner="roll").partner_batch
