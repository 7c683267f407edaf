"""Dense pixel contrast against a brute-force version written from its equation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from methods.losses.pixel_contrast import pixel_contrast_loss


def make_case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Two images of 12 pixels: three classes, one of a single valid pixel; ignored and invalid pixels among them."""
    g = torch.Generator().manual_seed(0)
    label = torch.tensor([0, 1, 255])[torch.randint(3, (2, 3, 4), generator=g)]
    label[0, 0, 0] = 2
    valid = (torch.rand(2, 3, 4, generator=g) < 0.8) & (label != 255)
    valid[0, 0, 0] = True
    return torch.randn(2, 5, 3, 4, generator=g, dtype=dtype).requires_grad_(), label, valid


def brute_force(rows: Tensor, label: list[int], temperature: float) -> Tensor:
    """Anchor by anchor and partner by partner on rows (P, D)."""
    terms = []
    for i, c in enumerate(label):
        similarity = [(torch.cosine_similarity(rows[i], row, 0) / temperature).exp() for row in rows]
        negatives = sum((s for s, k in zip(similarity, label, strict=True) if k != c), torch.zeros(()))
        partners = [p for p, k in enumerate(label) if k == c and p != i]
        if partners:
            terms.append(sum(-(similarity[p] / (similarity[p] + negatives)).log() for p in partners) / len(partners))
    return torch.stack([torch.as_tensor(t) for t in terms]).mean()


def flat(representation: Tensor) -> Tensor:
    return representation.permute(0, 2, 3, 1).reshape(-1, representation.shape[1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_brute_force(dtype: torch.dtype, tolerance: float) -> None:
    representation, label, valid = make_case(dtype)
    loss = pixel_contrast_loss(representation, label, valid, temperature=0.3)
    want = brute_force(flat(representation)[valid.flatten()], label[valid].tolist(), 0.3)
    for got, expected in [
        (loss, want),
        (torch.autograd.grad(loss, representation)[0], torch.autograd.grad(want, representation)[0]),
    ]:
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_three_pixels_by_hand() -> None:
    """Two equal pixels of class 0 and an orthogonal one of class 1, which has no partner and so is no anchor."""
    representation = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])[None, :, None]
    label = torch.tensor([[[0, 0, 1]]])
    loss = pixel_contrast_loss(representation, label, label >= 0, temperature=0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)


def test_sampled_pixels_are_distinct_valid_ones() -> None:
    representation, label, valid = make_case()
    uniform = torch.rand(24, generator=torch.Generator().manual_seed(1))
    number = int(valid.sum())
    draw: dict[str, Any] = {"num_pixels": number, "uniform": uniform}
    every = pixel_contrast_loss(representation, label, valid, temperature=0.3)
    torch.testing.assert_close(pixel_contrast_loss(representation, label, valid, temperature=0.3, **draw), every)
    chosen = [p for p in uniform.argsort().tolist() if valid.flatten()[p]][:6]
    draw["num_pixels"] = 6
    some = pixel_contrast_loss(representation, label, valid, temperature=0.3, **draw)
    want = brute_force(flat(representation)[chosen], label.flatten()[chosen].tolist(), 0.3)
    torch.testing.assert_close(some, want)


def test_sampling_needs_random_numbers() -> None:
    with pytest.raises(ValueError, match="needs uniform"):
        pixel_contrast_loss(*make_case(), temperature=0.3, num_pixels=4)


@pytest.mark.parametrize("case", ["nothing valid", "one class", "no partners"])
def test_degenerate_cases_are_zero_within_the_graph(case: str) -> None:
    representation, label, valid = make_case()
    if case == "nothing valid":
        valid = torch.zeros_like(valid)
    elif case == "one class":
        label = torch.zeros_like(label)
    else:
        label = torch.arange(24).view(2, 3, 4)
    loss = pixel_contrast_loss(representation, label, valid, temperature=0.3)
    (gradient,) = torch.autograd.grad(loss, representation)
    assert loss == 0 and torch.equal(gradient, torch.zeros_like(gradient))


def test_gradcheck() -> None:
    representation, label, valid = make_case()
    assert torch.autograd.gradcheck(lambda r: pixel_contrast_loss(r, label, valid, temperature=0.3), (representation,))


def test_bf16_autocast_computes_in_float32() -> None:
    representation, label, valid = make_case(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = pixel_contrast_loss(representation, label, valid, temperature=0.3)
    assert torch.equal(loss, pixel_contrast_loss(representation, label, valid, temperature=0.3))


def test_runs_on_fake_tensors() -> None:
    with FakeTensorMode() as mode:
        representation, label, valid = (mode.from_tensor(x) for x in make_case())
        loss = pixel_contrast_loss(representation, label, valid, temperature=0.3, num_pixels=8, uniform=torch.rand(24))
        assert torch.autograd.grad(loss, representation)[0].shape == representation.shape
