from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from methods.base import Batch, Build
from methods.losses.mask_classification import Targets
from methods.networks.mask_classifier import MaskClassifier, MaskClassifierConfig, Masks
from methods.rc2l import RC2L, RC2LConfig, TeacherOutput, _mixed, confident_regions
from tests.methods.fakes import CLASSES, SHIFT, batch

SURE: dict[str, Any] = {"min_confidence": 0.0, "min_area": 0.0}
VARIANTS: list[dict[str, Any]] = [
    {},
    {**SURE, "mix": "cutmix", "teacher_buffers": "average"},
    {**SURE, "mix": "classmix", "joint_forward": True, "predict_with": "student"},
]
every_variant = pytest.mark.parametrize("options", VARIANTS)
REGIONAL = ("rmc", "rfc", "rcc", "smc")


def network(seed: int) -> MaskClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MaskClassifier(MaskClassifierConfig(backbone="tiny", queries=8), CLASSES)


def method(seed: int = 0, **options: Any) -> RC2L:
    made = RC2L(RC2LConfig(**options), Build(CLASSES, lambda: network(seed), seed))
    made.train()
    return made


def train(trained: RC2L, batches: list[Batch], lr: float = 0.02) -> list[dict[str, float]]:
    optimizer = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], lr=lr, momentum=0.9)
    history = []
    for item in batches:
        optimizer.zero_grad()
        losses = trained.losses(item)
        torch.autograd.backward(list(losses.values()))
        optimizer.step()
        trained.after_step(item.step)
        history.append({key: value.item() for key, value in losses.items()})
    return history


def supervised(losses: dict[str, float]) -> float:
    return losses["class"] + losses["focal"] + losses["dice"]


@every_variant
def test_loss_decreases_on_a_fixed_batch(options: dict[str, Any]) -> None:
    fixed = batch()
    history = train(method(**options), [Batch(i, 40, 0, fixed.labelled, fixed.unlabelled) for i in range(40)])
    assert all(math.isfinite(value) for losses in history for value in losses.values())
    assert supervised(history[-1]) < 0.6 * supervised(history[0])


@every_variant
def test_state_dict_holds_everything(options: dict[str, Any]) -> None:
    first, other = method(**options), method(seed=1, **options)
    train(first, [batch(i) for i in range(2)])
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    following = [batch(2)]
    assert train(other, following) == train(first, following)  # bit for bit
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), other.state_dict().values(), strict=True))


@every_variant
def test_float32_losses_under_autocast(options: dict[str, Any]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        losses = method(**options).losses(batch())
    plain = method(**options).losses(batch())
    for key, value in losses.items():
        assert value.dtype == torch.float32
        assert value.isfinite()
        if key in ("class", "focal", "dice"):
            assert value.item() == pytest.approx(plain[key].item(), rel=0.05, abs=0.02)


@every_variant
def test_a_step_on_fake_tensors_is_the_worst_case(options: dict[str, Any]) -> None:
    """Only the matching looks at values; fake tensors have none, so it then takes every target as matched."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        made = method(**options)
        losses = made.losses(batch())
        torch.autograd.backward(list(losses.values()))
        made.after_step(0)
    assert all(p.grad is not None for p in made.student.parameters())


def test_the_matching_is_the_only_transfer_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    original = Tensor.cpu

    def cpu(self: Tensor) -> Tensor:
        counted.append(self.shape)
        return original(self)

    monkeypatch.setattr(Tensor, "cpu", cpu)
    method(**SURE).losses(batch())
    assert len(counted) == 1


def test_each_region_loss_can_be_switched_off_alone() -> None:
    whole = method(**SURE).losses(batch())
    assert set(whole) == {"class", "focal", "dice", *REGIONAL}
    for name in REGIONAL:
        losses = method(**SURE, **{f"{name}_weight": 0}).losses(batch())
        assert set(whole) - set(losses) == {name}
        assert all(torch.equal(losses[key], whole[key]) for key in losses)
    assert set(method(**SURE, unsupervised_weight=0).losses(batch())) == {"class", "focal", "dice"}
    half = method(**SURE, unsupervised_weight=0.5).losses(batch())
    assert all(half[name].item() == pytest.approx(whole[name].item() / 2) for name in REGIONAL)


def test_teacher_takes_no_gradient_and_follows() -> None:
    made = method(**SURE)
    train(made, [batch(0)])
    assert all(p.grad is None and not p.requires_grad for p in made.teacher.parameters())
    pairs = zip(made.teacher.model.parameters(), made.student.parameters(), strict=True)
    assert all(torch.equal(own, new) for own, new in pairs)
    assert made.predictor is made.teacher.model
    assert method(predict_with="student").predictor is not made.predictor


def test_finite_and_zero_without_confident_regions() -> None:
    losses = method(min_confidence=1.0).losses(batch())
    assert all(losses[name] == 0 for name in REGIONAL)
    torch.autograd.backward(list(losses.values()))


def found_regions() -> Masks:
    g = torch.Generator().manual_seed(0)
    classes = 4 * torch.randn(1, 3, 9, CLASSES + 1, generator=g)
    return Masks(classes, 3 * torch.randn(1, 3, 9, 6, 6, generator=g), torch.zeros(3, 2, 6, 6))


def test_confident_regions_by_loops() -> None:
    found = found_regions()
    config = RC2LConfig(max_regions=4, min_confidence=0.6, min_area=0.4)
    label, masks, present = confident_regions(found, config)
    assert label.shape == present.shape == (3, 4) and masks.shape == (3, 4, 6, 6)
    counts = []
    for b in range(3):
        want = []
        for n in range(9):
            p, m = found.classes[0, b, n].softmax(0), found.masks[0, b, n].sigmoid()
            inside = m >= 0.5
            confidence = float(p.max() * m[inside].mean())
            if int(p.argmax()) < CLASSES and confidence >= 0.6 and inside.float().mean() >= 0.4:
                want.append((confidence, int(p.argmax()), inside.float()))
        want = sorted(want, key=lambda region: -region[0])[:4]
        counts.append(len(want))
        assert present[b].tolist() == [True] * len(want) + [False] * (4 - len(want))
        for t, (_, c, mask) in enumerate(want):
            assert label[b, t] == c
            assert torch.equal(masks[b, t], mask)
    assert 0 < min(counts) < 4


def test_regions_and_scores_move_with_the_strong_view() -> None:
    """What the fake augmentation does, written otherwise: shifted to the right, nothing known on the left, mirrored."""
    made = method(**SURE).eval()
    item = batch()
    assert item.unlabelled is not None
    weak = item.unlabelled.weak
    found = made.teacher.model.regions(weak)  # type: ignore[operator]
    _, masks, _ = confident_regions(found, made.config)
    fine = F.interpolate(masks, size=weak.shape[2:], mode="bilinear")
    moved = F.pad(fine[..., :-SHIFT], (SHIFT, 0)).flip(-1)
    known = F.pad(torch.ones_like(weak[:, :1, :, :-SHIFT]), (SHIFT, 0)).flip(-1)
    share = F.avg_pool2d(known, 4)
    from_teacher = made.teacher_output(item)
    torch.testing.assert_close(from_teacher.image, (weak.roll(SHIFT, 3) * 0.9).flip(3))
    torch.testing.assert_close(from_teacher.targets.weight, share[:, 0])
    torch.testing.assert_close(from_teacher.targets.mask, F.avg_pool2d(moved, 4) / share.clamp(min=1e-6))
    assert from_teacher.targets.mask.shape == (4, 8, 8, 8)
    assert (share == 0).any() and from_teacher.semantic.shape == (4, CLASSES, 8, 8)


def test_mixing_cuts_regions_and_images_alike() -> None:
    """Regions that partition each image by colour must still name each pixel's colour after mixing."""
    g = torch.Generator().manual_seed(0)
    label = torch.randint(CLASSES, (3, 8, 8), generator=g)
    masks = F.one_hot(label, CLASSES).permute(0, 3, 1, 2).float()
    classes = torch.arange(CLASSES).expand(3, -1)
    targets = Targets(classes, masks, torch.ones(3, CLASSES, dtype=torch.bool), torch.ones(3, 8, 8))
    image = F.interpolate(label[:, None].float(), scale_factor=4).expand(-1, 3, -1, -1)
    keep = F.interpolate((torch.rand(3, 1, 8, 8, generator=g) < 0.5).float(), scale_factor=4)[:, 0] > 0
    mixed = _mixed(TeacherOutput(image, targets, torch.zeros(3, CLASSES, 2), masks), keep)
    painted = (mixed.targets.mask * mixed.targets.label[:, :, None, None]).sum(1)
    assert torch.equal(painted, mixed.image[:, 0, ::4, ::4])
    assert torch.equal(mixed.semantic.argmax(1).float(), painted)
    assert (mixed.targets.mask.sum(1) == 1).all()
    assert not torch.equal(mixed.image, image)


def test_mixing_draws_from_the_batchs_seed_alone() -> None:
    made = method(**SURE, mix="cutmix").eval()
    item = batch()
    images = [
        made.teacher_output(Batch(0, 20, seed, item.labelled, item.unlabelled)).image
        for seed in (item.seed, item.seed, 5)
    ]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_regions_that_the_strong_view_hardly_shows_are_left_out() -> None:
    made = method(min_confidence=0.0, min_area=0.2).eval()
    targets = made.teacher_output(batch()).targets
    area = (targets.mask * targets.weight[:, None]).mean((2, 3))
    assert (area[targets.present] >= 0.2).all()
