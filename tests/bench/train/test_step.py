"""What a step makes of a method's answer: losses are checked, quantities are logged and never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.spec.cell import Cell
from bench.spec.resources import Resources
from bench.train.loader import Loader
from bench.train.loop import Calls, Row, Trainer
from bench.train.metrics import Score
from bench.train.step import Diverged, Stepper, check_logged, check_losses
from methods.base import Batch, Labelled, Method

CPU = torch.device("cpu")


class Telling(Method):
    """Its loss is the weight times the step; it logs what it is told to."""

    def __init__(self, logs: bool = True, bad: str = "") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.logs, self.bad = logs, bad
        self.inner = Inner()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        value = batch.labelled.image.mean()
        if self.logs:
            self.log("share", value)
            self.inner.tell()
        wrong = torch.full((), float("nan") if self.bad else 0.0)
        return {"plain": self.weight * value, **({self.bad: self.weight * wrong} if self.bad else {})}

    @property
    def predictor(self) -> nn.Module:
        return self


class Inner(Method):
    """A method within another."""

    def tell(self) -> None:
        self.log("inner", torch.ones(2).requires_grad_().sum())


def cell(grid_file: Path, *sets: str) -> Cell:
    return make_plan(Request(str(grid_file), sets, (), grid_file.parent / "store")).cells[0].cell


def batch(step: int, value: float) -> Batch:
    return Batch(step, 8, step, Labelled(torch.full((2, 3, 4, 4), value), torch.zeros(2, 4, 4).long()), None)


def test_logged_means_are_over_micro_batches_and_steps_and_survive_a_checkpoint(grid_file: Path) -> None:
    of = cell(grid_file, "schedule.accumulate=2")
    stepper = Stepper(of, Telling(), CPU)
    stepper.take([batch(0, 0.0), batch(0, 0.5)])
    state = stepper.state()
    again = Stepper(of, Telling(), CPU)
    again.load(state)
    for each in (stepper, again):
        each.take([batch(1, 1.0), batch(1, 0.5)])
        losses, logged = each.take_means()
        assert logged == {"share": 0.5, "inner": 2.0}
        assert set(losses) == {"plain"}
        assert each.take_means()[1] == {}


def test_what_is_logged_changes_no_training(grid_file: Path) -> None:
    weights = []
    for logs in (True, False):
        stepper = Stepper(cell(grid_file), Telling(logs), CPU)
        stepper.take([batch(0, 0.7)])
        weights.append(stepper.method.state_dict()["weight"])
    assert torch.equal(*weights)


def trainer(grid_file: Path, method: Method, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> Trainer:
    stepper = Stepper(cell(grid_file), method, CPU)
    loader = object.__new__(Loader)
    loader.waited = 0.0
    monkeypatch.setattr(Loader, "images_per_step", 2)
    monkeypatch.setattr(loader, "steps", lambda start: ([batch(i, 1.0)] for i in range(start, 8)), raising=False)
    calls = Calls(lambda: Score(1.0, 1.0, [1.0]), log=rows.append)
    return Trainer(stepper, loader, Resources(log_every=4), calls)


def test_lines_of_metrics_hold_what_was_logged_where_something_was(
    grid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for logs in (True, False):
        rows: list[Row] = []
        trainer(grid_file, Telling(logs), rows, monkeypatch).train()
        lines = [row for row in rows if "losses" in row]
        assert [line["step"] for line in lines] == [4, 8]
        assert [line.get("logged") for line in lines] == [{"share": 1.0, "inner": 2.0} if logs else None] * 2


def test_a_loss_that_is_not_finite_is_named_at_the_first_step(grid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Diverged, match="the loss 'wrong' was not finite at step 0") as caught:
        trainer(grid_file, Telling(bad="wrong"), [], monkeypatch).train()
    assert (caught.value.step, caught.value.names) == (0, ("wrong",))


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (None, "must return a dict of at least one named loss, not NoneType None"),
        ({}, "at least one named loss, not dict {}"),
        (torch.ones(()), "at least one named loss, not a tensor of shape (), float32"),
        ({1: torch.ones(())}, "a loss's name must be a text, not 1"),
        ({"a": 0.5}, "the loss 'a' must be a scalar tensor of floats, not float 0.5"),
        ({"good": torch.ones(()), "map": torch.ones(2, 3)}, "the loss 'map' must be a scalar tensor of floats"),
        ({"count": torch.ones((), dtype=torch.int64)}, "not a tensor of shape (), int64"),
        ({"a": torch.ones(()), "b": torch.ones(())}, "no loss depends on a weight that is trained: a, b"),
    ],
)
def test_a_method_is_told_what_is_wrong_with_its_losses(losses: Any, said: str) -> None:
    with pytest.raises(BenchError) as caught:
        check_losses(losses, "mine")
    assert str(caught.value).startswith("method 'mine': losses()")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("share", torch.ones(2, 3), "log('share'): it must be a scalar tensor, not a tensor of shape (2, 3), float32"),
        ("share", 0.5, "log('share'): it must be a scalar tensor, not float 0.5"),
        ("ce", torch.ones(()), "log('ce'): a loss has this name; give it another one"),
        (3, torch.ones(()), "log(3): the name must be a text"),
    ],
)
def test_a_method_is_told_what_is_wrong_with_what_it_logs(name: Any, value: Any, said: str) -> None:
    method = Telling()
    method.log(name, value)
    with pytest.raises(BenchError) as caught:
        check_logged(method.take_logged(), {"ce": torch.ones(())}, "mine")
    assert str(caught.value) == f"method 'mine': {said}"
