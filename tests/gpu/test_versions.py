"""The versions of algorithms that a GPU runs, here on a CPU, give the losses and gradients of the CPU's versions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench import kernels
from bench.arrays import UInt8
from bench.seeds import rng
from bench.spec.cell import Cell
from bench.spec.resources import Resources
from bench.train.build import build_loader, build_stepper
from datasets.split import Split
from tests.bench.train.test_golden import OPTIONS
from tests.gpu.papers import METHODS, make_cells

CLASSES = 5
CPU = torch.device("cpu")


class Rectangles:
    """Images of flat rectangles of random colours, and masks of random classes."""

    def image(self, image_id: str) -> UInt8:
        return rng(0, "image", image_id).integers(0, 256, (12, 16, 3), "uint8").repeat(6, 0).repeat(6, 1)

    def mask(self, image_id: str) -> UInt8:
        return rng(0, "mask", image_id).integers(0, CLASSES, (12, 16), "uint8").repeat(6, 0).repeat(6, 1)


def step(cell: Cell, kind: str) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return the losses of the second step, which has a teacher that differs from its student, and its gradients."""
    with kernels.assuming(kind):
        stepper = build_stepper(cell, CLASSES, CPU)
        stepper.method.train()
        ids = tuple("abcdefgh")
        loader = build_loader(stepper, Rectangles(), Split(ids[:4], ids[4:]), Resources())
        stepper.take(loader.batches(0))
        (batch,) = loader.batches(1)
        losses = stepper.method.losses(batch)
        trained = {name: p for name, p in stepper.method.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), list(trained.values()))
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    return values, dict(zip(trained, gradients, strict=True))


@pytest.fixture(scope="module")
def cells() -> dict[str, Cell]:
    # On the images that it mixes by default a unit is at its ReLU's kink: noise of 1e-7 moves the gradient as a GPU does.
    options = {**OPTIONS, "fixmatch": {**OPTIONS["fixmatch"], "boxes": "half"}}
    methods = [{"name": name, **options.get(name, {})} for name in METHODS]
    return make_cells(methods, backbone="tiny", crop=48, batch=4, optimizer={"lr": 1e-4})


@pytest.mark.parametrize("method", METHODS)
def test_a_gpus_versions_give_a_cpus_losses_and_gradients(cells: dict[str, Cell], method: str) -> None:
    torch.set_num_threads(1)
    expected, expected_gradients = step(cells[method], "cpu")
    found, gradients = step(cells[method], "cuda")
    assert all(value > 0 for value in expected.values()), "a loss that is 0 compares nothing"
    assert found == pytest.approx(expected, rel=1e-4)
    assert gradients.keys() == expected_gradients.keys()
    scale = max(float(g.abs().max()) for g in expected_gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("method", METHODS)
def test_an_optimizer_step_is_fused(cells: dict[str, Cell], method: str) -> None:
    with kernels.assuming("cuda"):
        groups = build_stepper(cells[method], CLASSES, CPU).optimizer.param_groups
    assert all(group["fused"] for group in groups)
