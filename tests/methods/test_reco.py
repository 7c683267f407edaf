from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.arrays import IGNORE_INDEX
from bench.seeds import derive
from methods.losses.reco import Draws
from methods.reco import ReCo
from tests.methods.fakes import CLASSES, batch, method

SMALL = {"num_queries": 8, "num_negatives": 16, "representation_dim": 12}


def make(**options: Any) -> ReCo:
    made = method("reco", **{**SMALL, **options})
    assert isinstance(made, ReCo)
    return made


@pytest.mark.parametrize("base", ["supervised", "mean_teacher", "classmix", "cutmix", "cutout"])
def test_every_base_keeps_its_own_losses_and_predictor(base: str) -> None:
    plain = method("classmix", mix=base) if base in ("cutmix", "cutout") else method(base)
    reco = make(base=base)
    given = batch() if reco.uses_unlabelled else replace(batch(), unlabelled=None)
    losses, expected = reco.losses(given), plain.losses(given)
    assert set(losses) == {*expected, "reco"}
    for name, loss in expected.items():
        assert torch.equal(losses[name], loss), name
    assert reco.uses_unlabelled == plain.uses_unlabelled
    assert reco.labelled_batch_factor(reco.config) == plain.labelled_batch_factor(plain.config)  # type: ignore[arg-type]


def test_prediction_and_exported_weights_have_no_representation_head() -> None:
    reco, plain = make(base="supervised"), method("supervised")
    assert set(reco.predictor.state_dict()) == set(plain.predictor.state_dict())
    plain.predictor.load_state_dict(reco.predictor.state_dict())
    image = torch.rand(2, 3, 32, 32)
    expected = plain.predictor.eval()(image)
    assert torch.equal(reco.predictor.eval()(image), expected)
    torch.nn.init.normal_(reco.representation[0].weight)  # type: ignore[arg-type]
    assert torch.equal(reco.predictor(image), expected)


def reference(reco: ReCo, representation: Tensor, label: Tensor, valid: Tensor, probability: Tensor) -> float:
    """The loss where every class has constant features: then every draw gives the same keys, and sampling drops out."""
    present = [c for c in range(CLASSES) if ((label == c) & valid).any()]
    mean = {c: representation.permute(0, 2, 3, 1)[(label == c) & valid].mean(0) for c in present}
    total, tau = 0.0, reco.config.temperature
    for c in present:
        hard = (label == c) & valid & (probability[:, c] < reco.config.strong_threshold)
        if not hard.any():
            continue
        others = [k for k in present if k != c]
        assert len(others) == 1, "with one other class the negatives' class is certain"
        negative = torch.cosine_similarity(mean[c], mean[others[0]], dim=0) / tau
        total += float(torch.log(torch.exp(1 / torch.tensor(tau)) + 16 * torch.exp(negative)) - 1 / tau)
    return total / len(present)


def drawn(reco: ReCo, seed: int) -> Draws:
    return reco.drawing(replace(batch(), seed=seed))()


def test_contrast_sees_the_right_pixels_at_the_decoders_resolution() -> None:
    """Replace the head by the one-hot label itself: features are then constant within a class."""
    reco = make(base="supervised", representation_dim=CLASSES)
    given = batch()
    label = torch.zeros_like(given.labelled.label)
    label[:, :, 16:] = 1
    label[:, :2] = IGNORE_INDEX
    labelled = replace(given.labelled, label=label)
    outputs = reco.base.outputs(replace(given, labelled=labelled, unlabelled=None))
    small = label[:, ::4, ::4]
    features = torch.nn.functional.one_hot(small % IGNORE_INDEX, CLASSES).permute(0, 3, 1, 2).float() + 0.1
    reco.representation = torch.nn.Identity()  # type: ignore[assignment]
    outputs = replace(outputs, labelled=replace(outputs.labelled, features=features))
    probability = outputs.labelled.logits.softmax(1)
    expected = reference(reco, features, small, small != IGNORE_INDEX, probability)
    assert float(reco.contrast(reco.pixels(outputs), drawn(reco, 0))) == pytest.approx(expected, abs=1e-5)


def test_unconfident_pseudo_labels_take_no_part() -> None:
    reco = make()
    outputs = reco.base.outputs(batch())
    assert outputs.unlabelled is not None
    unsure = replace(outputs.unlabelled.target, confidence=torch.full_like(outputs.unlabelled.target.confidence, 0.69))
    without = replace(outputs, unlabelled=replace(outputs.unlabelled, target=unsure))
    swapped = replace(unsure, label=(unsure.label + 1) % CLASSES)
    other = replace(outputs, unlabelled=replace(outputs.unlabelled, target=swapped))
    assert torch.equal(
        reco.contrast(reco.pixels(without), drawn(reco, 1)), reco.contrast(reco.pixels(other), drawn(reco, 1))
    )


def test_gradient_reaches_head_and_backbone_and_draws_follow_the_seed() -> None:
    reco = make()
    reco.losses(batch())["reco"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in reco.representation.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in reco.base.student.parameters())
    reco.eval()
    outputs = reco.base.outputs(batch())
    seeds = [derive(0, "a"), derive(0, "a"), derive(0, "b")]
    first, again, other = (reco.contrast(reco.pixels(outputs), drawn(reco, seed)).item() for seed in seeds)
    assert first == again != other


def test_bf16_autocast_computes_the_contrast_in_float32() -> None:
    reco = make()
    with torch.autocast("cpu", torch.bfloat16):
        losses = reco.losses(batch())
    assert losses["reco"].dtype == torch.float32
    assert torch.isfinite(losses["reco"])
