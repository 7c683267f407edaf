"""No method is shown a score: nothing that the loop hands to one, or that a method holds, leads to an evaluation.

Some published methods adapt a threshold, or stop, by the score on val. Then val chooses the model, and a figure on it says
little. Here a method could only get at a score by reading the run's files, which no argument names.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from bench import registry
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.hooks import Hooks
from bench.run.worker import run_cell
from bench.seeds import derive
from bench.spec.resources import Resources
from bench.store.run import State
from bench.train.build import build_loader
from bench.train.loop import Calls, Progress, Trainer
from bench.train.metrics import Score
from bench.train.reader import Reader
from bench.train.step import Stepper
from datasets.split import Split
from methods.base import Batch, Method
from tests.conftest import GRID

SCORES = (61.40625, 17.28125)  # on val and on the holdout; exact in every floating-point type but bfloat16
KNOWING = ("bench.run", "bench.store", "bench.train.loop", "bench.train.metrics", "bench.train.reader")
OPAQUE = (
    type,
    types.ModuleType,
    types.BuiltinFunctionType,
    str,
    bytes,
    int,
    bool,
    type(None),
    torch.dtype,
    torch.device,
)


def _parts(node: Any) -> Iterator[Any]:
    """Yield what an object leads to by itself: its items, attributes and slots, and what a function is closed over."""
    if isinstance(node, dict):
        yield from node.keys()
        yield from node.values()
    elif isinstance(node, list | tuple | set | frozenset):
        yield from node
    if isinstance(node, types.MethodType):
        yield from (node.__self__, node.__func__)
    if isinstance(node, types.FunctionType):
        yield from (cell.cell_contents for cell in node.__closure__ or ())
        yield from node.__defaults__ or ()
    if isinstance(node, functools.partial):
        yield from (node.func, node.args, node.keywords)
    yield getattr(node, "__dict__", None)
    for cls in type(node).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        yield from (getattr(node, name, None) for name in ((slots,) if isinstance(slots, str) else slots))


def scores_within(*roots: Any) -> list[str]:
    """Return the paths of types by which scores, or objects that know some, are reached from `roots`."""
    found, seen, waiting = [], set[int](), [(root, type(root).__name__) for root in roots]
    kept = []  # so that no id is used twice
    while waiting:
        node, path = waiting.pop()
        if isinstance(node, OPAQUE) or id(node) in seen:
            continue
        seen.add(id(node))
        kept.append(node)
        number = isinstance(node, float) and node in SCORES
        if isinstance(node, Tensor) and node.is_floating_point():
            number = any(bool((node.detach() == score).any()) for score in SCORES)
        if number or type(node).__module__.startswith(KNOWING):
            found.append(path)
            continue
        waiting += [(part, f"{path} > {type(part).__name__}") for part in _parts(node)]
    return found


def progress_of(miou: float) -> Progress:
    return Progress({"last": {"step": 1, "miou": miou, "pixel_accuracy": 1.0, "iou": [miou]}})


@pytest.mark.parametrize(
    "leak",
    [
        lambda method: method.__dict__.update(score=SCORES[0]),
        lambda method: method.__dict__.update(history=[{"val": (SCORES[1],)}]),
        lambda method: method.register_buffer("best", torch.tensor([0.0, SCORES[0]])),
        lambda method: method.__dict__.update(ask=lambda miou=SCORES[0]: miou),
        lambda method: method.__dict__.update(ask=functools.partial(print, SCORES[0])),
        lambda method: method.__dict__.update(ask=progress_of(3.0).evaluations.get, progress=progress_of(3.0)),
        lambda method: method.__dict__.update(ask=Score(1.0, 1.0, []).as_dict),
        lambda method: method.register_forward_hook((lambda score: lambda *_: score)(SCORES[0])),
    ],
)
def test_the_audit_finds_what_leaks(leak: Callable[[nn.Module], None]) -> None:
    method = nn.Sequential(nn.Linear(2, 2))
    assert not scores_within(method)
    leak(method)
    assert scores_within(method)


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Evaluations give known scores, and every call of a method's hooks is audited; the number of calls."""
    calls: list[int] = []
    monkeypatch.setattr(Hooks, "evaluate", lambda *_: Score(SCORES[0], SCORES[0], [SCORES[0], None, SCORES[0]]))
    monkeypatch.setattr(Hooks, "evaluate_holdout", lambda *_: Score(SCORES[1], SCORES[1], [SCORES[1], None, None]))

    def audit(cls: type[Method], name: str) -> None:
        original = getattr(cls, name)

        @functools.wraps(original)
        def call(self: Method, *arguments: Any) -> Any:
            calls.append(1)
            assert scores_within(self, *arguments) == []
            return original(self, *arguments)

        monkeypatch.setattr(cls, name, call)

    for method in registry.names("method"):
        for name in ("losses", "after_step"):
            audit(registry.get("method", method), name)
    return calls


@pytest.mark.parametrize("method", registry.names("method"))
def test_no_registered_method_is_shown_a_score(tmp_path: Path, method: str, audited: list[int]) -> None:
    content = yaml.safe_load(GRID)
    content["axes"]["method"] = [method]
    content["recipe"]["schedule"]["iterations"] = 3
    content["recipe"]["evaluation"] = {"every": 1, "select_on": "holdout", "holdout": 1}
    content["resources"] = {"threads": 1, "log_every": 1, "device": "cpu"}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    request = Request(str(path), (), (), tmp_path / "store")
    plan = make_plan(request)
    (job,), _ = make_jobs(plan, plan.cells, request, retry=False)
    assert run_cell(job) is State.DONE
    assert len(audited) >= 6


class Peeker(Method):
    """Keeps every argument of every call that the harness makes of a method, whatever the method could be asked."""

    seen: list[tuple[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "seen", [])
        self.network = nn.Conv2d(3, 3, 1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.network(batch.labelled.image).square().mean()}

    @property
    def predictor(self) -> nn.Module:
        return self

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.network(image)
        return scores

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if isinstance(value, types.MethodType) and not name.startswith("_"):
            seen = super().__getattribute__("__dict__").get("seen", [])

            def call(*arguments: Any, **options: Any) -> Any:
                seen.append((name, (arguments, options)))
                return value(*arguments, **options)

            return call
        return value

    def __getattr__(self, name: str) -> Any:
        if name in ("after_evaluation", "on_validation_end", "score", "miou", "best"):
            raise AssertionError(f"the harness asks a method for {name}, which is no part of the contract")
        return super().__getattr__(name)


def test_a_method_that_keeps_all_it_is_given_has_no_score(grid_file: Path) -> None:
    cell = make_plan(Request(str(grid_file), (), (), grid_file.parent / "store")).cells[0].cell
    cls = registry.get("dataset", "toy")
    method, toy = Peeker(), cls(cls.Config(), Path())
    stepper = Stepper(cell, method, torch.device("cpu"))
    ids = toy.ids("train")
    reader = Reader(toy, ids, 0)
    loader = build_loader(stepper, reader, Split(ids[:4], ids[4:]), Resources(checkpoint_every=2, log_every=1))
    scored: list[int] = []

    def evaluate() -> Score:
        scored.append(stepper.done)
        method.predictor(torch.zeros(1, 3, 8, 8))  # as an evaluator does
        return Score(SCORES[0], SCORES[0], [SCORES[0]])

    holdout = Score(SCORES[1], SCORES[1], [SCORES[1]])
    Trainer(stepper, loader, Resources(log_every=1), Calls(evaluate, lambda: holdout)).train()
    assert scored == [3, 6, 8]
    names = {name for name, _ in method.seen}
    assert {"losses", "after_step", "train", "state_dict"} <= names
    assert [arguments for name, (arguments, _) in method.seen if name == "after_step"] == [(i,) for i in range(8)]
    batches = [arguments[0] for name, (arguments, _) in method.seen if name == "losses"]
    assert [(batch.step, batch.seed) for batch in batches] == [
        (step, derive(cell.seeds.data, "method", step, 0)) for step in range(8)
    ]
    assert scores_within(method.seen, method.__dict__) == []
