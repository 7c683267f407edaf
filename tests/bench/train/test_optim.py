from __future__ import annotations

import pytest
import torch
from torch import nn

from bench import kernels
from bench.spec.sections import Optimizer
from bench.train.optim import learning_rate, make_optimizer, set_learning_rate


def test_poly_matches_torch_scheduler() -> None:
    config = Optimizer(lr=0.1, lr_every=1, min_lr=0)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    reference = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=50, power=0.9)
    for step in range(50):
        assert learning_rate(config, step, 50) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        reference.step()


def test_authors_schedule_is_stepped_once_per_200_iterations_and_floored() -> None:
    """ReCo: max(2.5e-3 (1 - e/200)^0.9, 1e-6) in epoch e of 200 iterations, 40,000 in all."""
    config = Optimizer()
    for step in (0, 199, 200, 1234, 39_999):
        epoch = step // 200
        assert learning_rate(config, step, 40_000) == pytest.approx(max(2.5e-3 * (1 - epoch / 200) ** 0.9, 1e-6))
    assert learning_rate(Optimizer(lr=1e-5, lr_every=1), 39_999, 40_000) == 1e-6


def test_warmup_is_linear() -> None:
    config = Optimizer(lr=1.0, warmup=4, lr_every=1)
    assert [learning_rate(config, s, 100) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.head = nn.Linear(2, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_backbone_has_its_own_rate_and_frozen_weights_are_left_out() -> None:
    optimizer = make_optimizer(Optimizer(backbone_lr_factor=0.1), Model())
    set_learning_rate(optimizer, 0.5)
    assert [(len(g["params"]), g["lr"]) for g in optimizer.param_groups] == [(2, 0.05), (2, 0.5)]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weights_may_get_their_first_gradient_later_than_others_also_where_steps_are_fused(name: str) -> None:
    models = [nn.ModuleDict({name: nn.Linear(2, 2) for name in ("early", "late")}) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    plain = make_optimizer(Optimizer(name=name), models[0])
    with kernels.assuming("cuda"):
        fused = make_optimizer(Optimizer(name=name), models[1])
    assert fused.param_groups[0]["fused"]
    for step in range(4):
        for model, optimizer in zip(models, (plain, fused), strict=True):
            hidden = model["early"](torch.ones(1, 2))
            (hidden if step < 2 else model["late"](hidden)).sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_state_survives_a_round_trip(name: str) -> None:
    model = Model()
    optimizer = make_optimizer(Optimizer(name=name), model)
    model.head(model.backbone(torch.ones(1, 2))).sum().backward()
    optimizer.step()
    other = make_optimizer(Optimizer(name=name), model)
    other.load_state_dict(optimizer.state_dict())
    assert str(other.state_dict()) == str(optimizer.state_dict())
