"""The four region losses against loops over regions, and in the cases that the method's idea is about."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from methods.losses import rc2l
from methods.losses.mask_classification import Targets
from methods.losses.matching import Matching

K, TAU = 4, 0.2


class Case:
    """Two images, five student and three teacher regions each; the second image has one region only."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(3)
        self.mask_logits = torch.randn(2, 5, 4, 4, generator=g).requires_grad_()
        self.classes = (2 * torch.randn(2, 5, K + 1, generator=g)).requires_grad_()
        self.features = torch.randn(2, 5, 6, generator=g).requires_grad_()
        self.teacher_features = torch.randn(2, 3, 6, generator=g).requires_grad_()
        self.semantic = torch.rand(2, K, 4, 4, generator=g).requires_grad_()
        masks = torch.rand(2, 3, 4, 4, generator=g).requires_grad_()
        present = torch.tensor([[True, True, True], [True, False, False]])
        weight = torch.rand(2, 4, 4, generator=g)
        self.targets = Targets(torch.tensor([[0, 1, 0], [1, 0, 0]]), masks, present, weight)
        self.matching = Matching(torch.tensor([[1, 4, 2], [3, 0, 0]]), present)

    @property
    def masks(self) -> Tensor:
        return self.mask_logits.sigmoid()

    @property
    def predicted(self) -> Tensor:
        return torch.tensor([[0, 1, 4, 0, 2], [1, 0, 4, 4, 1]])

    @property
    def positive(self) -> Tensor:
        return rc2l.positives(self.predicted, self.targets, self.matching)

    def pairs(self) -> list[tuple[int, int]]:
        return [(b, t) for b in range(2) for t in range(3) if self.targets.present[b, t]]


def rmc(case: Case) -> Tensor:
    return rc2l.region_mask_contrast(case.masks, case.targets, case.positive, TAU)


def rfc(case: Case) -> Tensor:
    return rc2l.region_feature_contrast(
        case.features, case.teacher_features, case.predicted, case.targets, case.positive, TAU
    )


def rcc(case: Case) -> Tensor:
    return rc2l.region_class_consistency(case.classes, case.targets, case.matching)


def smc(case: Case) -> Tensor:
    student = torch.einsum("bnk,bnhw->bkhw", case.classes.softmax(2)[..., :-1], case.masks)
    return rc2l.semantic_mask_consistency(student, case.semantic, case.targets)


def dice(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    return 2 * (a * b * weight).sum() / ((a**2 * weight).sum() + (b**2 * weight).sum())


def plain_nce(similarities: list[Tensor], positive: list[bool]) -> Tensor:
    e = [(s / TAU).exp() for s in similarities]
    negatives = sum((x for x, p in zip(e, positive, strict=True) if not p), torch.zeros(()))
    return torch.stack([-(x / (x + negatives)).log() for x, p in zip(e, positive, strict=True) if p]).mean()


def is_positive(case: Case, b: int, n: int, image: int, t: int) -> bool:
    matched = image == b and int(case.matching.region[image, t]) == n
    return matched or int(case.predicted[b, n]) == int(case.targets.label[image, t])


def plain_rmc(case: Case) -> Tensor:
    terms = []
    for b, t in case.pairs():
        similarities = [dice(case.masks[b, n], case.targets.mask[b, t], case.targets.weight[b]) for n in range(5)]
        terms.append(plain_nce(similarities, [is_positive(case, b, n, b, t) for n in range(5)]))
    return torch.stack(terms).mean()


def plain_rfc(case: Case) -> Tensor:
    terms = []
    for b, t in case.pairs():
        others = [(i, n) for i in range(2) for n in range(5)]
        cosine = [F.cosine_similarity(case.features[i, n], case.teacher_features[b, t], 0) for i, n in others]
        terms.append(plain_nce(cosine, [is_positive(case, i, n, b, t) for i, n in others]))
    return torch.stack(terms).mean()


def plain_rcc(case: Case) -> Tensor:
    terms = []
    for b, t in case.pairs():
        p = case.classes[b, int(case.matching.region[b, t])].softmax(0)
        terms.append(-p[int(case.targets.label[b, t])].log())
    return torch.stack(terms).mean()


def plain_smc(case: Case) -> Tensor:
    terms = []
    for b in range(2):
        for c in {int(case.targets.label[i, t]) for i, t in case.pairs() if i == b}:
            student = sum((case.classes[b, n].softmax(0)[c] * case.masks[b, n] for n in range(5)), torch.zeros(4, 4))
            terms.append(1 - dice(student, case.semantic[b, c], case.targets.weight[b]))
    return torch.stack(terms).mean()


Loss = Callable[[Case], Tensor]
PAIRS: dict[str, tuple[Loss, Loss]] = {
    "rmc": (rmc, plain_rmc),
    "rfc": (rfc, plain_rfc),
    "rcc": (rcc, plain_rcc),
    "smc": (smc, plain_smc),
}
every_loss = pytest.mark.parametrize("name", PAIRS)


def student_inputs(case: Case) -> list[Tensor]:
    return [case.mask_logits, case.classes, case.features]


@every_loss
def test_equals_loops_with_gradients(name: str) -> None:
    case = Case()
    values = [loss(case) for loss in PAIRS[name]]
    torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=1e-6)
    found, want = (torch.autograd.grad(v, student_inputs(case), allow_unused=True) for v in values)
    assert any(g is not None for g in want)
    for ours, theirs in zip(found, want, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@every_loss
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    case = Case()
    torch.autograd.backward(PAIRS[name][0](case))
    teacher = (case.teacher_features, case.semantic, case.targets.mask)
    assert all(x.grad is None for x in teacher)


@every_loss
def test_zero_within_the_graph_without_a_confident_region(name: str) -> None:
    case = Case()
    none = torch.zeros_like(case.targets.present)
    case.targets, case.matching = case.targets._replace(present=none), case.matching._replace(matched=none)
    loss = PAIRS[name][0](case)
    assert loss == 0
    gradients = torch.autograd.grad(loss, student_inputs(case), allow_unused=True)
    assert all(g is None or torch.equal(g, torch.zeros_like(g)) for g in gradients)


@every_loss
def test_an_image_in_which_nothing_is_known_is_finite(name: str) -> None:
    case = Case()
    case.targets = case.targets._replace(
        mask=torch.zeros_like(case.targets.mask), weight=torch.zeros_like(case.targets.weight)
    )
    loss = PAIRS[name][0](case)
    gradients = torch.autograd.grad(loss, student_inputs(case), allow_unused=True)
    assert loss.isfinite()
    assert all(g is None or g.isfinite().all() for g in gradients)


@every_loss
def test_float32_under_autocast_and_no_host_sync(name: str) -> None:
    case = Case()
    plain = PAIRS[name][0](case)
    with torch.autocast("cpu", torch.bfloat16):
        low = PAIRS[name][0](case)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, plain, rtol=1e-2 if name == "smc" else 1e-6, atol=1e-2 if name == "smc" else 1e-6)
    with FakeTensorMode(allow_non_fake_inputs=True):
        PAIRS[name][0](case)


def equal_case(swap_masks: bool = False, swap_classes: bool = False, blur: float = 0) -> Case:
    """The student answers as the teacher does: three disjoint regions of three classes; optionally not quite."""
    case = Case()
    masks = torch.zeros(2, 3, 4, 4)
    for n in range(3):
        masks[:, n, :, n] = 1
    order = torch.tensor([1, 0, 2])
    own = masks[:, order] if swap_masks else masks
    case.mask_logits = torch.where(own > 0.5, 40.0, -40.0) * (1 - blur)
    labels = torch.arange(3).expand(2, -1)
    said = labels[:, order] if swap_classes else labels
    case.classes = 40 * (1 - blur) * F.one_hot(said, K + 1).float()
    case.teacher_features = torch.eye(3).expand(2, -1, -1)
    case.features = case.teacher_features[:, order] if swap_masks else case.teacher_features
    case.features = case.features + blur
    present = torch.ones(2, 3, dtype=torch.bool)
    case.targets = Targets(labels, masks, present, torch.ones(2, 4, 4))
    case.semantic = F.pad(masks, (0, 0, 0, 0, 0, 1))
    case.matching = Matching(labels, present)
    return case


@pytest.mark.parametrize("name", PAIRS)
def test_least_when_the_student_equals_the_teacher_and_more_after_a_swap(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Case, "predicted", property(lambda self: self.classes.argmax(2)))
    loss = PAIRS[name][0]
    equal = loss(equal_case()).item()
    least = {"rmc": math.log(1 + 2 * math.exp(-1 / TAU)), "rfc": math.log(1 + 4 * math.exp(-1 / TAU))}
    assert equal == pytest.approx(least.get(name, 0), abs=1e-5)
    assert loss(equal_case(blur=0.99)).item() > equal + 0.01
    if name != "rcc":
        assert loss(equal_case(swap_masks=True)).item() > equal + 0.1
    assert loss(equal_case(swap_classes=True)).item() > equal + 0.1


def test_dice_is_one_for_equal_masks_only() -> None:
    masks = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = rc2l.pairwise_dice(masks, masks, torch.ones(1, 4, 4))[0]
    torch.testing.assert_close(found.diagonal(), torch.ones(3))
    assert (found[~torch.eye(3, dtype=torch.bool)] < 0.999).all()


def test_region_features_are_means_inside_the_masks() -> None:
    pixels = torch.arange(8.0).view(1, 2, 2, 2)
    masks = torch.tensor([[[[1.0, 1], [0, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]]])
    assert rc2l.region_features(pixels, masks).tolist() == [[[0.5, 4.5], [3, 7], [0, 0]]]
