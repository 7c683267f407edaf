"""What every method must keep: tried on small images, in a few seconds. The conformance tests call the same functions."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.arrays import IGNORE_INDEX
from bench.check.cell import Make, making, take, toy_cell, trained_parameters, training
from bench.check.outcomes import Check, demand, no_global_draws
from bench.check.toy import CLASSES, batch
from bench.resize import bilinear
from bench.spec.cell import Cell, Part
from bench.train.step import check_logged, check_losses
from methods.base import Batch, Method

STEPS = 20
FALLS_TO = 0.9  # of the first sum of losses, at most, after so many steps on one batch
RISES_BY = 0.1  # the predictor's share of right pixels on that batch, at least
Losses = list[dict[str, float]]


def train(method: Method, batches: Sequence[Batch], lr: float = 0.05) -> Losses:
    """Do the loop's part of a few steps; return each step's losses."""
    optimizer = torch.optim.SGD(trained_parameters(method), lr=lr, momentum=0.9)
    history = []
    for item in batches:
        optimizer.zero_grad()
        torch.manual_seed(item.step)  # as the loop does, for dropout
        losses = method.losses(item)
        torch.autograd.backward([loss for loss in losses.values() if loss.requires_grad])
        optimizer.step()
        method.after_step(item.step)
        history.append({key: value.item() for key, value in losses.items()})
    return history


def builds(make: Make) -> str:
    """The same seed gives the same weights, whatever was drawn before."""
    with no_global_draws():
        first = make(0)
    torch.rand(1)
    demand(_equal(first, make(0)), "two methods built with the same seed have different weights")
    count = sum(p.numel() for p in trained_parameters(first))
    demand(count > 0, "no weight is trained")
    return f"{count:,} trained weights"


def gives_losses(make: Make) -> str:
    """Named scalars that are finite, with finite gradients."""
    method = make(0)
    losses = method.losses(batch(asks=method))
    check_losses(losses, type(method).__name__)
    check_logged(method.take_logged(), losses, type(method).__name__)
    bad = [name for name, loss in losses.items() if not bool(loss.isfinite())]
    demand(not bad, f"not finite: {', '.join(bad)}")
    torch.autograd.backward([loss for loss in losses.values() if loss.requires_grad])
    named = [(name, p.grad) for name, p in method.named_parameters() if p.grad is not None]
    bad = [name for name, grad in named if not bool(grad.isfinite().all())]
    demand(not bad, f"the gradient isn't finite in {', '.join(bad[:3])}")
    return ", ".join(f"{name} {float(loss.detach()):.3g}" for name, loss in losses.items())


def predicts(make: Make) -> str:
    """Scores (B, K, h, w) of images of any size, the same each time; so does each of several predictors."""
    method = make(0).eval()
    first = next(iter(method.predictors.values())).state_dict().values()
    same = [x.data_ptr() for x in first] == [x.data_ptr() for x in method.predictor.state_dict().values()]
    demand(same, "the first of `predictors` isn't `predictor`")
    return ", ".join(f"{name} {_scores(name, network)}" for name, network in method.predictors.items())


def _scores(name: str, network: nn.Module) -> tuple[int, ...]:
    """Look at a predictor's scores of images of two sizes; return the shape of the last ones."""
    for height, width in ((32, 32), (40, 56)):
        image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            scores, again = network(image), network(image)
        shape = tuple(scores.shape)
        fits = len(shape) == 4 and shape[:2] == (2, CLASSES) and shape[2] <= height and shape[3] <= width
        asked = f"(2, {CLASSES}, at most {height}, {width})"
        demand(fits, f"{name}: images {tuple(image.shape)} give scores {shape}, not {asked}")
        again_same = torch.equal(scores, again)
        demand(again_same, f"{name}: in evaluation mode the same images give other scores the second time")
    return shape


def learns(make: Make) -> Losses:
    """On one batch the losses' sum falls, and the predictor gets better on its labelled images."""
    method = make(0)
    fixed = batch(asks=method)
    before = _accuracy(method, fixed)
    history = train(method, [Batch(i, STEPS, 0, fixed.labelled, fixed.unlabelled) for i in range(STEPS)])
    supervised = set.intersection(*(set(losses) for losses in history))
    first, last = (sum(losses[name] for name in supervised) for losses in (history[0], history[-1]))
    demand(
        last <= FALLS_TO * first, f"after {STEPS} steps on one batch the losses' sum is {last:.3g}, from {first:.3g}"
    )
    after = _accuracy(method, fixed)
    told = f"after {STEPS} steps the predictor is right on {after:.0%} of the labelled pixels, from {before:.0%}"
    demand(after >= before + RISES_BY, told)
    return history


def _accuracy(method: Method, item: Batch) -> float:
    """Return the share of a batch's labelled pixels on which the predictor is right."""
    method.eval()
    label = item.labelled.label
    with torch.inference_mode():
        scores = bilinear(method.predictor(item.labelled.image).float(), label.shape[1:], align_corners=True)
    method.train()
    right, known = scores.argmax(1) == label, label != IGNORE_INDEX
    return float((right & known).sum() / known.sum())


def keeps_state(make: Make) -> str:
    """Another one that loads its state goes on as it does, bit for bit."""
    first, other = make(0), make(1)
    train(first, [batch(i, asks=first) for i in range(3)])
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    following = [batch(i, asks=first) for i in range(3, 5)]
    found, expected = train(other, following), train(first, following)
    demand(found == expected, f"losses after loading: {found[-1]}, without: {expected[-1]}")
    demand(_equal(first, other), "weights or buffers differ after two more steps")
    return ""


def draws_from_seeds(make: Make) -> str:
    """Losses follow from the batch and its seed; no global generator is drawn from, but by dropout while it trains."""
    found = []
    for seed in (0, 1):
        method = make(0)
        random.seed(seed)
        torch.manual_seed(0)  # the loop seeds torch's generator at each step
        with no_global_draws():
            found.append([method.losses(batch(step, asks=method)) for step in (0, 1)])
    demand(all(_same(a, b) for a, b in zip(*found, strict=True)), "the same batch gives other losses the second time")
    method = make(0).eval()  # without dropout
    before = torch.get_rng_state()
    method.losses(batch(asks=method))
    demand(torch.equal(before, torch.get_rng_state()), "torch's global generator was drawn from")
    return ""


def half_precision(make: Make) -> dict[str, tuple[Tensor, float]]:
    """Under autocast to bfloat16 the losses are about those of float32, and their gradients reach the same weights.

    Returns:
        Each loss in bf16 and in fp32, by name.
    """
    exact, rounded = make(0), make(0)
    torch.manual_seed(0)
    plain = exact.losses(batch(asks=exact))
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        low = rounded.losses(batch(asks=rounded))
    for losses in (plain, low):
        torch.autograd.backward([loss for loss in losses.values() if loss.requires_grad])
    pairs = zip(exact.named_parameters(), rounded.parameters(), strict=True)
    lost = [name for (name, p), q in pairs if p.grad is not None and q.grad is None]
    demand(not lost, f"in bf16 no gradient reaches {', '.join(lost[:3])}: was it used under torch.no_grad() before?")
    for name, value in low.items():
        there, here = float(value.detach()), float(plain[name].detach())
        near = abs(there - here) <= max(0.05 * abs(here), 0.02)
        demand(near, f"the loss '{name}' is {there:.4g} in bf16, {here:.4g} in fp32")
        demand(value.dtype == torch.float32, f"the loss '{name}' is {value.dtype} in bf16")
    return {name: (value, float(plain[name].detach())) for name, value in low.items()}


def never_waits(make: Make) -> Method:
    """A step asks for no value on the host: it is taken on tensors without any."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        method = make(0)
        losses = method.losses(batch(asks=method))
        torch.autograd.backward([loss for loss in losses.values() if loss.requires_grad])
        method.after_step(0)
    return method


def resumes(cell: Cell) -> str:
    """Stopped after any step and loaded from a file, it goes on bit for bit, on the harness's own batches."""
    whole, loader = training(cell)
    expected = take(whole, loader, 4)
    for stop in (1, 3):
        first, loader = training(cell)
        take(first, loader, stop)
        file = io.BytesIO()
        torch.save(first.state(), file)
        file.seek(0)
        second, loader = training(cell)
        second.load(torch.load(file, weights_only=True))
        demand(take(second, loader, 4 - stop) == expected[stop:], f"other losses after a stop at step {stop}")
        demand(_equal(whole.method, second.method), f"other weights after a stop at step {stop}")
    return ""


def trains(cell: Cell) -> str:
    """A few steps on the harness's batches, which have no mask of an unlabelled image."""
    stepper, loader = training(cell)
    history = take(stepper, loader, 3)
    return ", ".join(history[-1])


def _equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    own, theirs = one.state_dict(), other.state_dict()
    return own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _quiet(check: object) -> str:
    return check if isinstance(check, str) else ""


def method_checks(method: Part, network: Part | None) -> list[Check]:
    """Return the checks of a method.

    Args:
        method: with its options.
        network: to build it on; None is the recipe's.
    """
    cell = toy_cell(method, network)
    make = making(cell)
    accumulating = toy_cell(method, network, schedule={"accumulate": 2})
    rounded = toy_cell(method, network, numerics={"precision": "bf16"})

    def of(function: object) -> partial[str]:
        return partial(lambda call: _quiet(call(make)), function)

    return [
        Check(
            "builds",
            of(builds),
            "make networks with build.make_network() and draw further weights from torch's generator, in __init__",
            first=True,
        ),
        Check(
            "gives losses",
            of(gives_losses),
            "losses() returns a dict of scalars; a mean over no pixel is NaN: methods.losses.segmentation.mean_where is 0",
            first=True,
        ),
        Check(
            "predicts", of(predicts), "`predictor` is a module that gives scores (B, K, h, w) of images (B, 3, H, W)"
        ),
        Check("learns", of(learns), "look at the losses' signs and weights, and that the networks are attributes"),
        Check(
            "keeps its state",
            of(keeps_state),
            "hold what a step depends on in modules, parameters or register_buffer(), counters too, not in attributes",
        ),
        Check(
            "draws from seeds",
            of(draws_from_seeds),
            "draw with bench.seeds.rng(batch.seed, PURPOSE), not from a global generator",
        ),
        Check(
            "trains in bf16",
            of(half_precision),
            "compute losses in float32: methods.losses.segmentation.resize() gives float32 scores; else .float()",
        ),
        Check(
            "never waits",
            of(never_waits),
            "no .item(), boolean index or nonzero() in a step: torch.where() and sums; else a GPU waits, and "
            "plan --predict can't tell this method's memory",
            required=False,
        ),
        Check(
            "trains without hidden masks",
            partial(trains, cell),
            "use what Batch holds; unlabelled images have no masks",
        ),
        Check("resumes", partial(resumes, cell), "see 'keeps its state' and 'draws from seeds'"),
        Check(
            "accumulates",
            partial(trains, accumulating),
            "a micro-batch may be smaller: take its size from the tensors",
        ),
        Check("resumes in bf16", partial(resumes, rounded), "see 'keeps its state' and 'draws from seeds'"),
    ]
