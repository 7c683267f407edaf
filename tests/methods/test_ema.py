from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from methods.ema import BufferPolicy, Ema, decay_at


def student() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def trained(net: nn.Sequential, steps: int) -> Iterator[Tensor]:
    """Train a student for some steps; yield after each one the image that its teacher is to see."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(steps):
        image = torch.rand(4, 3, 8, 8, generator=generator)
        optimizer.zero_grad()
        net(image).square().mean().backward()
        optimizer.step()
        yield torch.rand(4, 3, 8, 8, generator=generator) + 1


def plain_update(teacher: nn.Module, net: nn.Module, step: int, decay: float) -> None:
    """The ReCo authors' EMA, parameter by parameter."""
    weight = min(1 - 1 / (step + 1), decay)
    for own, new in zip(teacher.parameters(), net.parameters(), strict=True):
        own.data = weight * own.data + (1 - weight) * new.data


def close(a: nn.Module, b: nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7, msg=name)


def test_decay_warms_up() -> None:
    assert [decay_at(step, 0.99) for step in (0, 1, 3, 98, 99, 100, 10**6)] == [
        0,
        0.5,
        0.75,
        1 - 1 / 99,
        0.99,
        0.99,
        0.99,
    ]


def test_own_buffers_against_a_plain_loop() -> None:
    net = student()
    ema, plain = Ema(net, 0.8), copy.deepcopy(net)
    for step, image in enumerate(trained(net, 12)):
        ema.update(net, step)
        plain_update(plain, net, step, 0.8)
        with torch.no_grad():
            torch.testing.assert_close(ema(image), plain(image))
        close(ema.model, plain)
    assert int(ema.model.get_buffer("1.num_batches_tracked")) == 12  # the teacher's own forward passes


def test_teacher_equals_student_after_the_first_step() -> None:
    net = student()
    ema = Ema(net, 0.99)
    next(trained(net, 1))
    ema.update(net, 0)
    for own, new in zip(ema.model.parameters(), net.parameters(), strict=True):
        assert torch.equal(own, new)


@pytest.mark.parametrize("policy", ["copy", "average"])
def test_student_buffers_against_a_plain_loop(policy: BufferPolicy) -> None:
    net = student()
    ema, plain = Ema(net, 0.8, policy), copy.deepcopy(net).eval()
    for step, image in enumerate(trained(net, 12)):
        with torch.no_grad():
            ema(image)  # must not touch the buffers
        ema.update(net, step)
        plain_update(plain, net, step, 0.8)
        weight = min(1 - 1 / (step + 1), 0.8) if policy == "average" else 0.0
        for name, new in net.named_buffers():
            own = plain.get_buffer(name)
            own.copy_(weight * own + (1 - weight) * new if new.is_floating_point() else new)
        close(ema.model, plain)


@pytest.mark.parametrize(("policy", "training"), [("own", True), ("copy", False), ("average", False)])
def test_mode_follows_the_policy(policy: BufferPolicy, training: bool) -> None:
    method = nn.Module()
    method.teacher = Ema(student(), 0.99, policy)
    for mode in (False, True):
        method.train(mode)
        assert method.get_submodule("teacher.model.1").training is (mode and training)


def test_teacher_takes_no_gradient_and_is_all_in_the_state() -> None:
    net = student()
    ema = Ema(net, 0.8)
    for step, image in enumerate(trained(net, 3)):
        ema(image)
        ema.update(net, step)
    assert not any(p.requires_grad for p in ema.parameters())
    assert all(p.requires_grad for p in net.parameters())
    other = Ema(student(), 0.8)
    other.load_state_dict(ema.state_dict())
    for one in (ema, other):
        one.update(net, 3)
    assert all(torch.equal(a, b) for a, b in zip(ema.state_dict().values(), other.state_dict().values(), strict=True))
