from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F
from torchvision.transforms.functional import to_pil_image, to_tensor

from bench.arrays import IGNORE_INDEX
from bench.check.cell import Make
from bench.check.methods import half_precision, keeps_state, learns, never_waits, train
from bench.registry import get
from bench.seeds import rng
from methods.base import Batch, Method
from methods.mean_teacher import sigmoid_ramp
from methods.supervised import Supervised, SupervisedConfig
from methods.teacher import TeacherMethod, in_8_bits
from tests.methods.fakes import CLASSES, SHIFT, batch, method

# Few classes and few pixels: ranks, numbers and the bank are small as well.
U2PL = {"representation_dim": 8, "low_rank": 1, "high_rank": 3, "bank_size": 40, "num_anchors": 16, "num_negatives": 8}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("supervised", {}),
    ("mean_teacher", {}),
    ("mean_teacher", {"joint_forward": True, "teacher_buffers": "average", "ramp_up": 0, "predict_with": "mean"}),
    ("classmix", {}),
    ("classmix", {"mix": "cutmix", "joint_forward": True, "confidence": "8bit"}),
    ("classmix", {"mix": "cutout", "reduction": "valid", "teacher_buffers": "copy"}),
    ("classmix", {"share_of": "batch", "draw_void": False}),
    ("classmix", {"mix": "none", "threshold": 0.3, "predict_with": "student"}),
    ("pixel_contrast", {"base": "cutmix", "weak_threshold": 0.0, "num_pixels": 64}),
    ("fixmatch", {"threshold": 0.4}),
    ("fixmatch", {"threshold": 0, "partner": "roll", "boxes": "cps"}),
    ("unimatch", {"threshold": 0.4}),
    ("cps", {}),
    ("cps", {"mix": "none", "cross_weight": 0.5, "predict_with": "mean"}),
    ("augseg", {"threshold": 0.4, "ema_decay": 0.9}),
    ("augseg", {"threshold": 0, "inject": False, "teacher_buffers": "own", "joint_forward": False}),
    ("prevmatch", {"threshold": 0.4, "previous_threshold": 0.4, "stored": 2}),
    ("unimatch_v2", {"threshold": 0.4}),
    ("unimatch_v2", {"threshold": 0, "dropped_images": 1, "predict_with": "student"}),
    ("u2pl", {**U2PL, "supervised_only": 0}),
    ("u2pl", {**U2PL, "supervised_only": 0, "unreliable": 0, "cutmix_p": 0, "teacher_buffers": "average"}),
]
# Factors on the supervised loss, or the number of networks.
SUPERVISED = {"fixmatch": 0.5, "unimatch": 0.5, "unimatch_v2": 0.5, "prevmatch": 0.5, "cps": 2}
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS)


def teacher_method(name: str, **options: Any) -> TeacherMethod:
    made = method(name, **options)
    assert isinstance(made, TeacherMethod)
    return made


def making(name: str, options: dict[str, Any]) -> Make:
    return lambda seed: method(name, seed=seed, **options)


def student_of(made: Method) -> nn.Module:
    """Return the network that is trained, of a method or of its base."""
    of: Any = getattr(made, "base", made)
    student: nn.Module = of.student
    return student


@every_variant
def test_loss_decreases_on_a_fixed_batch(name: str, options: dict[str, Any]) -> None:
    history = learns(making(name, options))
    assert all(math.isfinite(value) for losses in history for value in losses.values())
    expected = math.log(CLASSES) * SUPERVISED.get(name, 1)
    assert history[0]["supervised"] == pytest.approx(expected, rel=0.3)
    assert history[-1]["supervised"] < 0.3 * history[0]["supervised"]
    assert sum(history[-1].values()) < 0.7 * sum(history[0].values())


@every_variant
def test_state_dict_holds_everything(name: str, options: dict[str, Any]) -> None:
    keeps_state(making(name, options))


@every_variant
def test_float32_losses_under_autocast(name: str, options: dict[str, Any]) -> None:
    found = half_precision(making(name, options))
    assert all(value.dtype == torch.float32 and value.shape == () for value, _ in found.values())


@every_variant
def test_no_host_sync_in_a_step(name: str, options: dict[str, Any]) -> None:
    """Fake tensors hold no data: whatever asks for a value on the host fails."""
    made = never_waits(making(name, options))
    assert all(isinstance(p.grad, FakeTensor) for p in student_of(made).parameters())


@pytest.mark.parametrize("name", ["mean_teacher", "classmix"])
def test_teacher_takes_no_gradient_and_follows(name: str) -> None:
    made = teacher_method(name)
    before = copy.deepcopy(made.teacher.model)
    train(made, [batch(0)])
    assert all(p.grad is None and not p.requires_grad for p in made.teacher.parameters())
    assert all(p.grad is not None for p in made.student.parameters())
    pairs = zip(made.teacher.model.parameters(), made.student.parameters(), before.parameters(), strict=True)
    assert all(torch.equal(own, new) and not torch.equal(own, old) for own, new, old in pairs)


def test_predictors() -> None:
    supervised = method("supervised")
    assert supervised.predictor is supervised.get_submodule("student")
    made = teacher_method("classmix")
    assert made.predictor is made.teacher.model
    assert isinstance(made.predictor, nn.Module)
    made = teacher_method("classmix", predict_with="student")
    assert made.predictor is made.student


def test_supervised_batch() -> None:
    assert not Supervised.uses_unlabelled
    assert Supervised.labelled_batch_factor(SupervisedConfig()) == 2
    assert Supervised.labelled_batch_factor(SupervisedConfig(batch_factor=1)) == 1
    assert get("method", "classmix").labelled_batch_factor(get("method", "classmix").Config()) == 1
    alone = batch()
    losses = method("supervised").losses(Batch(0, 20, 0, alone.labelled, None))
    assert list(losses) == ["supervised"]


def plain_pseudo_labels(made: TeacherMethod, weak: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The ReCo authors' lines: resize, softmax, maximum."""
    with torch.no_grad():
        raw = F.interpolate(copy.deepcopy(made.teacher)(weak), size=weak.shape[2:], mode="bilinear", align_corners=True)
        scores = torch.softmax(raw, dim=1)
        confidence, label = torch.max(scores, dim=1)
    return scores, label, confidence


def moved(maps: Tensor, fill: float) -> Tensor:
    """What ShiftedView does to a map, written otherwise."""
    return F.pad(maps[..., :-SHIFT].float(), (SHIFT, 0), value=fill).flip(-1).to(maps.dtype)


def test_classmix_without_mixing_step_by_step() -> None:
    made = teacher_method("classmix", mix="none", threshold=0.35, unsupervised_weight=0.5)
    item = batch()
    assert item.unlabelled is not None
    _, label, confidence = plain_pseudo_labels(made, item.unlabelled.weak)
    label, confidence = moved(label, IGNORE_INDEX), moved(confidence, 0)
    image = (item.unlabelled.weak.roll(SHIFT, 3) * 0.9).flip(3)
    student = copy.deepcopy(made.student)
    student(item.labelled.image)  # two forward passes, the labelled one first
    logits = F.interpolate(student(image), size=label.shape[1:], mode="bilinear", align_corners=True)
    share = (confidence >= 0.35).flatten(1).sum(1) / (label != IGNORE_INDEX).flatten(1).sum(1)
    assert 0 < share.min() <= share.max() < 1
    loss = F.cross_entropy(logits, label, ignore_index=IGNORE_INDEX, reduction="none")
    expected = torch.masked_select(share[:, None, None] * loss, loss > 0).mean()
    torch.testing.assert_close(made.losses(item)["unsupervised"], 0.5 * expected)


def test_mean_teacher_step_by_step() -> None:
    made = teacher_method("mean_teacher", ramp_up=0.5, unsupervised_weight=3.0)
    fixed = batch()
    item = Batch(4, 20, 0, fixed.labelled, fixed.unlabelled)
    assert item.unlabelled is not None
    scores, _, _ = plain_pseudo_labels(made, item.unlabelled.weak)
    image = (item.unlabelled.weak.roll(SHIFT, 3) * 0.9).flip(3)
    student = copy.deepcopy(made.student)
    student(item.labelled.image)
    logits = F.interpolate(student(image), size=image.shape[2:], mode="bilinear", align_corners=True)
    distance = (logits.softmax(1) - moved(scores, 0)).square().sum(1)[..., :-SHIFT]  # the strip is now on the right
    expected = 3 * math.exp(-5 * (1 - 4 / 10) ** 2) * distance.mean()
    torch.testing.assert_close(made.losses(item)["unsupervised"], expected)


def test_soft_and_hard_targets_share_a_frame() -> None:
    made = teacher_method("mean_teacher")
    target = made.unlabelled_target(batch())
    assert target.scores is not None
    valid = target.label != IGNORE_INDEX
    assert torch.equal(target.scores.argmax(1)[valid], target.label[valid])
    assert torch.equal(target.scores.amax(1), target.confidence)
    assert not target.scores.requires_grad


def test_mixing_happens_between_the_two_halves() -> None:
    """Cutout's hole shows the mean colour as the photometric half leaves it, and is void in the target."""
    target = teacher_method("classmix", mix="cutout").unlabelled_target(batch())
    hole = (target.image[:, 0] - 0.485 * 0.9).abs() < 1e-6
    assert abs(hole.float().mean().item() - 0.5) < 0.05
    assert (target.label[hole] == IGNORE_INDEX).all()
    assert (target.confidence[hole] == 0).all()


def test_mixing_draws_belong_to_the_batch() -> None:
    made, item = teacher_method("classmix"), batch()

    def label(seed: int) -> Tensor:
        return made.unlabelled_target(Batch(0, 20, seed, item.labelled, item.unlabelled)).label

    assert torch.equal(label(1), label(1))
    assert not torch.equal(label(1), label(2))


def test_joint_forward_shares_statistics() -> None:
    """In evaluation mode both ways agree; in training mode batch norm sees other batches."""
    apart, joint = (teacher_method("classmix", threshold=0.25, joint_forward=option).eval() for option in (False, True))
    for key, value in apart.losses(batch()).items():
        assert value > 0
        torch.testing.assert_close(joint.losses(batch())[key], value)
    assert apart.train().losses(batch())["supervised"] != joint.train().losses(batch())["supervised"]


def test_ramp() -> None:
    assert sigmoid_ramp(0, 10) == pytest.approx(0.006737947)  # exp(-5)
    assert sigmoid_ramp(5, 10) == pytest.approx(0.286504797)  # exp(-1.25)
    assert [sigmoid_ramp(step, 10) for step in (10, 11)] == [1, 1]
    assert sigmoid_ramp(0, 0) == 1


def test_a_confidence_of_8_bits_is_that_of_pils_image_and_back() -> None:
    confidence = torch.from_numpy(rng(0, "test").random((3, 20, 30)).astype(np.float32))
    confidence[0, 0, :4] = torch.tensor([0.0, 1.0, 0.97, 0.7])
    image = [to_tensor(to_pil_image(one))[0] for one in confidence]  # what the ReCo authors' code does with it
    assert torch.equal(in_8_bits(confidence), torch.stack(image))
    for threshold, acts_as in ((0.97, 248 / 255), (0.70, 179 / 255)):
        passes = in_8_bits(confidence) >= threshold
        assert torch.equal(passes, confidence * 255 >= round(acts_as * 255))


@pytest.mark.parametrize("name", ["u2pl", "augseg"])
def test_an_8_bit_confidence_that_would_do_nothing_is_refused(name: str) -> None:
    config = get("method", name).Config
    assert config(confidence="exact") == config()
    with pytest.raises(ValueError, match="confidence"):
        config(confidence="8bit")
