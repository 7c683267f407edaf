from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.arrays import UInt8
from bench.train import reader as module
from bench.train.reader import Reader


class Meeting(Reader):
    """Decodes only when all of its threads do."""

    barrier: threading.Barrier

    def image(self, image_id: str) -> UInt8:
        self.barrier.wait(timeout=20)
        return super().image(image_id)


def toy(tmp_path: Path, threads: int, kind: type[Reader] = Reader) -> tuple[Reader, tuple[str, ...]]:
    dataset = registry.get("dataset", "toy")
    made = dataset(dataset.Config(), tmp_path)
    ids = made.ids("train")[:24]
    return kind(made, ids, 0, threads=threads), ids


def noted(reader: Reader) -> list[str]:
    """Return a list to which the ids of decoded images will be added."""
    read, decode = list[str](), reader.dataset.image

    def image(image_id: str) -> UInt8:
        read.append(image_id)
        return decode(image_id)

    reader.dataset.image = image  # type: ignore[method-assign]
    return read


def test_pairs_come_in_order_from_all_threads(tmp_path: Path) -> None:
    reader, ids = toy(tmp_path, 6, Meeting)
    assert isinstance(reader, Meeting)
    reader.barrier = threading.Barrier(6)
    assert len(ids) == 24
    for image_id, (image, mask) in zip(ids, reader.pairs(ids), strict=True):
        np.testing.assert_array_equal(image, reader.dataset.image(image_id))
        np.testing.assert_array_equal(mask, reader.dataset.mask(image_id))


@pytest.mark.parametrize(("room", "most"), [(1 << 30, 8), (5, 5), (0, 2)])
def test_few_pairs_wait_where_they_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, most: int
) -> None:
    reader, ids = toy(tmp_path, 2)
    monkeypatch.setattr(module, "AHEAD_BYTES", room * 40 * 40 * 4)
    read = noted(reader)
    waiting = []
    for given, _ in enumerate(reader.pairs(ids), 1):
        waiting.append(len(read) - given)
    assert max(waiting[8:]) < most
    assert len(read) == len(ids)


def test_what_was_not_begun_is_dropped_when_the_evaluation_is_stopped(tmp_path: Path) -> None:
    reader, ids = toy(tmp_path, 1)
    read = noted(reader)
    pairs = reader.pairs(ids)
    next(pairs)
    pairs.close()  # type: ignore[attr-defined]
    assert len(read) <= 5
