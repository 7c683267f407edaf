"""The bank of representations against a deque for each class."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch.nn import functional as F

from methods.losses.memory_bank import MemoryBank, drawn_from

CLASSES, SIZE, WIDTH, PIXELS = 3, 7, 4, 30


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_drawn_columns_are_chosen_ones_without_repetition_and_all_of_them_where_there_are_few() -> None:
    mask = torch.rand(CLASSES, PIXELS, generator=numbers(0)) < 0.4
    mask[2] = False
    index, there = drawn_from(mask, torch.rand(PIXELS, generator=numbers(1)), 20)
    assert index.shape == there.shape == (CLASSES, 20)
    for row in range(CLASSES):
        found = index[row][there[row]].tolist()
        assert len(found) == len(set(found)) == min(20, int(mask[row].sum()))
        assert mask[row, found].all()
        assert not there[row, len(found) :].any()
    assert drawn_from(mask, torch.rand(PIXELS), 99)[0].shape == (CLASSES, PIXELS)


def test_every_column_is_as_likely_and_rows_differ() -> None:
    mask, generator, counts = torch.ones(2, 12, dtype=torch.bool), numbers(3), torch.zeros(2, 12)
    equal = 0
    for _ in range(2000):
        index, _ = drawn_from(mask, torch.rand(12, generator=generator), 3)
        counts += torch.stack([torch.bincount(row, minlength=12) for row in index])
        equal += set(index[0].tolist()) == set(index[1].tolist())
    assert ((counts / 2000 - 3 / 12).abs() < 4 * (0.25 * 0.75 / 2000) ** 0.5).all()
    assert equal < 200


def test_it_keeps_the_latest_of_each_class_as_a_deque_does() -> None:
    bank, kept = MemoryBank(CLASSES, SIZE, WIDTH), [deque[list[float]](maxlen=SIZE) for _ in range(CLASSES)]
    for step in range(9):
        rows = torch.randn(PIXELS, WIDTH, generator=numbers(step))
        mask = torch.rand(CLASSES, PIXELS, generator=numbers(100 + step)) < torch.tensor([[0.05], [0.3], [0.0]])
        order = torch.rand(PIXELS, generator=numbers(200 + step))
        bank.add(rows, mask, order, 4)
        index, there = drawn_from(mask, order, 4)
        for row in range(CLASSES):
            for pixel in index[row][there[row]].tolist():
                kept[row].append((rows[pixel] / rows[pixel].square().sum().sqrt()).tolist())
        for row, queue in enumerate(kept):
            own = bank.rows[row * (SIZE + 1) :][: len(queue)].tolist()
            np.testing.assert_allclose(sorted(own) or [[]], sorted(queue) or [[]], rtol=1e-6)
            assert min(int(bank.written[row]), SIZE) == len(queue)
    assert [len(queue) for queue in kept][1:] == [SIZE, 0]


def test_draws_are_uniform_among_what_a_class_has() -> None:
    bank = MemoryBank(CLASSES, SIZE, WIDTH)
    mask = torch.zeros(CLASSES, PIXELS, dtype=torch.bool)
    mask[0, :3] = mask[1] = True
    bank.add(torch.randn(PIXELS, WIDTH, generator=numbers(0)), mask, torch.rand(PIXELS, generator=numbers(1)), 99)
    places, found = bank.draw(torch.rand(CLASSES, 50, 100, generator=numbers(2)))
    assert places.dtype == torch.int32
    assert found.tolist() == [True, True, False]
    for row, count in ((0, 3), (1, SIZE)):
        seen = torch.bincount(places[row].flatten() - row * (SIZE + 1), minlength=SIZE + 1)
        assert (seen[:count] > 5000 / count * 0.85).all()
        assert seen[count:].sum() == 0
        assert torch.allclose(bank.rows[places[row].flatten().long()].norm(dim=1), torch.ones(5000))
    last = bank.draw(torch.full((CLASSES, 1), 1 - 2**-24))[0][:, 0]
    assert last[:2].tolist() == [2, SIZE + 1 + SIZE - 1]


def test_nothing_but_its_state_is_needed_to_go_on() -> None:
    one, other = MemoryBank(CLASSES, SIZE, WIDTH), MemoryBank(CLASSES, SIZE, WIDTH)
    arguments = torch.randn(PIXELS, WIDTH), torch.ones(CLASSES, PIXELS, dtype=torch.bool), torch.rand(PIXELS), 5
    one.add(*arguments)
    other.load_state_dict(one.state_dict())
    one.add(*arguments)
    other.add(*arguments)
    assert torch.equal(one.rows, other.rows)
    assert F.normalize(one.rows, dim=1).isfinite().all()
