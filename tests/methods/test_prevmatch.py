"""PrevMatch step by step against plain PyTorch; which students are stored when, and that no score has a say in it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.seeds import rng
from methods.base import Batch
from methods.prevmatch import PrevMatch, ramp
from tests.methods.fakes import batch, method
from tests.methods.test_unimatch import Maps, by_hand, labels_of, large, pasted, strong_by_hand


def made(**options: Any) -> PrevMatch:
    sizes = {"threshold": 0.3, "previous_threshold": 0.28, "stored": 3, "store_every": 0.1}
    found = method("prevmatch", **{**sizes, **options})
    assert isinstance(found, PrevMatch)
    return found


def at(step: int, asks: PrevMatch) -> Batch:
    return replace(batch(asks=asks), step=step, iterations=20)


def told_apart(ours: PrevMatch) -> None:
    """Make each stored student another one, with statistics of its own."""
    with torch.no_grad():
        for number, previous in enumerate(ours.previous):
            for p in previous.parameters():
                p.mul_(1 + 0.1 * (number + 1))
            for name, value in previous.named_buffers():
                if name.endswith("running_mean"):
                    value.add_(0.1 * number)


def model_of(ours: PrevMatch, place: int) -> nn.Module:
    return ours.previous[place].get_submodule("model")


def previous_labels(
    ours: PrevMatch, item: Batch, available: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Labels and confidence of the weak view and of the partner's, with the paper's ensemble in a loop."""
    assert item.unlabelled is not None and item.unlabelled.partner is not None
    draw = rng(item.seed, "previous")
    count = min(int(draw.integers(1, 4)), available)
    chosen = draw.permutation(available)[:count]
    weights = draw.dirichlet([1.0] * count)
    found = []
    for images in (item.unlabelled.weak, item.unlabelled.partner.weak):
        with torch.no_grad():
            networks = [copy.deepcopy(model_of(ours, int(i))).eval() for i in chosen]
            logits = sum(float(w) * net(images) for w, net in zip(weights, networks, strict=True))
        assert isinstance(logits, Tensor)
        found.append(labels_of(logits))
    return found[0], found[1]


def loss_at(logits: Tensor, label: Tensor, confidence: Tensor, threshold: float) -> Tensor:
    loss = F.cross_entropy(large(logits), label, ignore_index=IGNORE_INDEX, reduction="none")
    valid = label != IGNORE_INDEX
    return (loss * ((confidence >= threshold) & valid)).sum() / valid.sum()


@pytest.mark.parametrize("step", [2, 5, 10, 17])
def test_every_loss_by_hand(step: int) -> None:
    ours = made()
    told_apart(ours)
    item = at(step, ours)
    student, before = copy.deepcopy(ours.student), copy.deepcopy(ours)
    losses = ours.losses(item)
    available = min(step // 2, 3)  # one every 10 % of 20 steps
    weight = step / 10 if step <= 10 else (20 - step) / 10
    expected = by_hand(student, item, 2, True)
    for key, value in expected.items():
        torch.testing.assert_close(losses[key], value * 2 / (2 + weight), rtol=1e-5, atol=1e-6)
    assert list(losses) == [*expected, "previous_strong", "previous_features"]

    weak, partner = previous_labels(before, item, available)
    assert item.unlabelled is not None and item.unlabelled.partner is not None
    own, other = strong_by_hand(item.unlabelled.weak, *weak), strong_by_hand(item.unlabelled.partner.weak, *partner)
    views: list[Maps] = [pasted(own, other, item.seed, number) for number in (0, 1)]
    # The student's outputs, in the order of its passes: labelled and weak images with perturbed features, then the views.
    network: Any = before.student
    network.eval()(item.unlabelled.partner.weak)
    network.train()
    maps = network.encode(torch.cat((item.labelled.image, item.unlabelled.weak)))
    draw = rng(item.seed, "features")
    masks = [torch.from_numpy(draw.random(values.shape[:2], "float32") >= 0.5) for values in maps]
    maps = [torch.cat((x, x * m[:, :, None, None] * 2)) for x, m in zip(maps, masks, strict=True)]
    perturbed = network.classify(network.decode(maps))[12:]
    of_views = network(torch.cat([image for image, _, _ in views])).chunk(2)
    strong = [loss_at(x, label, sure, 0.28) for x, (_, label, sure) in zip(of_views, views, strict=True)]
    features = loss_at(perturbed, *weak, 0.28)
    share = weight / (2 + weight)
    torch.testing.assert_close(losses["previous_strong"], share * 0.25 * (strong[0] + strong[1]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses["previous_features"], share * 0.5 * features, rtol=1e-4, atol=1e-6)
    logged = ours.take_logged()
    valid_share = (weak[1] >= 0.28).float().mean()
    assert float(logged["previous_confident"]) == pytest.approx(float(valid_share))


def test_until_a_student_is_stored_it_is_unimatch() -> None:
    ours, base = made(), method("unimatch", threshold=0.3)
    item = at(1, ours)
    found, expected = ours.losses(item), base.losses(item)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_students_are_stored_by_step_the_oldest_replaced() -> None:
    ours = made()
    marks = []
    for step in range(20):
        ours.losses(at(step, ours))
        with torch.no_grad():
            for p in ours.student.parameters():
                p.fill_(float(step))
        ours.after_step(step)
        marks.append([float(next(previous.parameters()).flatten()[0]) for previous in ours.previous])
    assert marks[1][0] == 1 and marks[2][0] == 1  # every second step
    assert marks[5] == [1, 3, 5]
    assert marks[7] == [7, 3, 5]
    assert marks[19] == [19, 15, 17]
    assert not any(model_of(ours, place).training for place in range(3))
    assert all(not p.requires_grad for p in ours.previous.parameters())
    stored = dict(model_of(ours, 0).named_buffers())
    assert all(torch.equal(value, stored[name]) for name, value in ours.student.named_buffers())


def test_the_weight_rises_to_the_middle_and_falls() -> None:
    assert [ramp(step, 8) for step in range(9)] == [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0]


def test_an_ensemble_is_of_one_to_three_in_equal_shares() -> None:
    ours = made()
    ours.interval = 2
    asked: list[int] = []
    for number, previous in enumerate(ours.previous):
        previous.register_forward_hook(lambda *_, number=number: asked.append(number))
    counts = []
    item = at(10, ours)
    assert item.unlabelled is not None
    for seed in range(150):
        asked.clear()
        ours.labelled_by_previous(replace(item, seed=seed), item.unlabelled)
        assert len(set(asked)) == len(asked)
        counts.append(len(asked))
    assert all(abs(counts.count(size) - 50) < 4 * (150 * 2 / 9) ** 0.5 for size in (1, 2, 3))
