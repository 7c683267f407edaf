from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.store.confusion import Confusion, ImageCounts, confusion_path, read_confusion, write_confusion
from bench.store.run import Run


def drawn(images: int = 7, classes: int = 5) -> NDArray[np.int64]:
    """Return sparse matrices; the third image has no valid pixel, and one count is beyond 16 bits."""
    draw = np.random.default_rng(0)
    shape = (images, classes, classes)
    dense = draw.integers(1, 5000, shape) * (draw.random(shape) < 0.3)
    dense[2] = 0
    dense[0, 4, 4] = 3_000_000_000
    return dense


def confusion(dense: NDArray[np.int64]) -> Confusion:
    return Confusion(tuple(f"größe/{i:03}" for i in range(len(dense))), 40, ImageCounts.of(dense))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize("classes", [1, 5, 300])
def test_what_is_written_is_read(run: Run, classes: int) -> None:
    dense = drawn(classes=classes) if classes == 5 else np.full((3, classes, classes), 2)
    made = confusion(dense)
    write_confusion(run, "best", made)
    found = read_confusion(run, "best")
    assert found is not None
    assert read_confusion(run, "last") is None
    assert (found.ids, found.classes, found.step) == (made.ids, classes, 40)
    assert np.array_equal(found.matrices(), dense)
    assert np.array_equal(found.total(), dense.sum(0))
    assert found.sha256() == made.sha256()


def test_the_file_is_numpys_and_needs_no_pickle(run: Run) -> None:
    """Rebuilt by hand from the description of the format, without our reader."""
    dense = drawn()
    write_confusion(run, "last", confusion(dense))
    with np.load(confusion_path(run, "last"), allow_pickle=False) as file:
        assert sorted(file.files) == ["cells", "classes", "counts", "ids", "indptr", "step"]
        k, rebuilt = int(file["classes"]), np.zeros_like(dense)
        for i in range(len(file["ids"])):
            for j in range(file["indptr"][i], file["indptr"][i + 1]):
                rebuilt[i, file["cells"][j] // k, file["cells"][j] % k] += file["counts"][j]
    assert np.array_equal(rebuilt, dense)


def test_the_same_content_is_the_same_bytes_at_any_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_confusion(run, "last", confusion(drawn()))
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_confusion(run, "best", confusion(drawn()))
    assert confusion_path(run, "last").read_bytes() == confusion_path(run, "best").read_bytes()
    other = drawn()
    other[1, 0, 0] += 1
    assert confusion(other).sha256() != confusion(drawn()).sha256()


def test_parts_that_came_in_another_order_are_put_in_the_splits() -> None:
    dense, order = drawn(9), [4, 0, 8, 2, 1, 3, 7, 6, 5]
    parts = [ImageCounts.of(dense[order[:4]]), ImageCounts.of(dense[order[4:5]]), ImageCounts.of(dense[order[5:]])]
    assert np.array_equal(ImageCounts.joined(parts, order).matrices(), dense)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cells": lambda a: a[:-1]}, "differ in length"),
        ({"cells": lambda a: np.where(np.arange(len(a)) == 1, 25, a)}, "outside the matrix"),
        ({"cells": lambda a: np.concatenate([a[1::-1], a[2:]])}, "do not ascend"),
        ({"counts": lambda a: a * 0}, "not above 0"),
        ({"ids": lambda a: a[1:]}, "does not fit the ids"),
        ({"classes": lambda _: np.array(["x"], object)}, "allow_pickle=False"),
    ],
)
def test_content_that_cannot_be_is_one_clear_line(run: Run, change: dict[str, Any], words: str) -> None:
    arrays = confusion(drawn()).arrays()
    arrays |= {name: edit(arrays[name]) for name, edit in change.items()}
    np.savez_compressed(confusion_path(run, "last"), **arrays)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match=words) as caught:
        read_confusion(run, "last")
    assert "\n" not in str(caught.value)
    assert "confusion-last.npz" in str(caught.value)


def test_every_damaged_or_missing_byte_is_found(run: Run) -> None:
    """A changed byte is an error, or is one that means nothing (an attribute in the zip's directory)."""
    dense = drawn()
    write_confusion(run, "last", confusion(dense))
    path, whole = confusion_path(run, "last"), confusion_path(run, "last").read_bytes()
    for at in range(0, len(whole), 17):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                found = read_confusion(run, "last")
            except BenchError:
                continue
            assert found is not None
            assert np.array_equal(found.matrices(), dense)
            assert found.step == 40
