"""The method of dense contrast: its loss is the one that brute force checks, on the pixels and draws of its batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from bench.arrays import IGNORE_INDEX
from methods.pixel_contrast import PixelContrast
from tests.methods.fakes import batch, method
from tests.methods.losses.test_pixel_contrast import brute_force, flat


def make(**options: Any) -> PixelContrast:
    made = method("pixel_contrast", **options)
    assert isinstance(made, PixelContrast)
    return made


def test_all_pixels_contrast_as_in_the_equation() -> None:
    ours = make(base="supervised", representation_dim=8, num_pixels=10_000, temperature=0.3)
    given = batch()
    label = given.labelled.label.clone()
    label[:, :20] = IGNORE_INDEX
    outputs = ours.base.outputs(replace(given, labelled=replace(given.labelled, label=label), unlabelled=None))
    pixels = ours.pixels(outputs)
    assert torch.equal(pixels.valid, label[:, ::4, ::4] != IGNORE_INDEX)
    rows = flat(pixels.representation)[pixels.valid.flatten()].double()
    expected = brute_force(rows, pixels.label[pixels.valid].tolist(), 0.3)
    torch.testing.assert_close(ours.contrast(pixels, 0).double(), expected, rtol=1e-5, atol=1e-6)


def test_weight_and_draws() -> None:
    ours = make(base="cutmix", weak_threshold=0.0, num_pixels=32)
    twice = make(base="cutmix", weak_threshold=0.0, num_pixels=32, contrast_weight=2.0)
    twice.load_state_dict(ours.state_dict())
    ours.eval(), twice.eval()
    first, again, double = (m.losses(batch())["contrast"] for m in (ours, ours, twice))
    other = ours.losses(replace(batch(), seed=5))["contrast"]
    assert first == again != other
    torch.testing.assert_close(double, 2 * first)
    first.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in ours.representation.parameters())
