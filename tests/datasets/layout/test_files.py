"""Lists and class names: what is read, and how what can't be is reported; work on threads."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from datasets.layout.files import (
    escapes,
    illegal_labels,
    on_threads,
    read_classes,
    read_lines,
)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_lines_with_any_ending(tmp_path: Path, ending: str, bom: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes((bom + ending.join(["a", " b\t", "", "c"])).encode())
    assert read_lines(path) == ["a", "b", "", "c"]


def test_lines_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    (tmp_path / "folder").mkdir()
    for name, why in [("none", "no such file"), ("binary", "UTF-8"), ("folder", "can't be read")]:
        with pytest.raises(BenchError, match=f"{name}: .*{why}"):
            read_lines(tmp_path / name)


def test_classes(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("sky\nroad works\n\n")
    assert read_classes(path) == ("sky", "road works")


@pytest.mark.parametrize(
    ("text", "why"),
    [("a\n\nb\n", "line 2 is blank"), ("a\nb\na\n", "line 3 names class 'a' a second"), ("\n", "0 classes")],
)
def test_bad_classes(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(BenchError, match=why):
        read_classes(path)


def test_too_many_classes(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(map(str, range(256))))
    with pytest.raises(BenchError, match="256 classes; there must be 1 to 255"):
        read_classes(path)


@pytest.mark.parametrize("text", ["/etc/passwd", "../a", "a/../../b", "..", "a\\b", "a\0b"])
def test_paths_that_escape(text: str) -> None:
    assert escapes(text)


@pytest.mark.parametrize("text", ["a", "city/a.b", "2007_000032", "a..b", "."])
def test_paths_that_stay(text: str) -> None:
    assert not escapes(text)


def test_illegal_labels() -> None:
    mask = Image.fromarray(np.array([[0, 2, 3, 254, 255]], np.uint8))
    assert illegal_labels(mask.histogram(), 3) == [3, 254]
    assert illegal_labels(mask.histogram(), 255) == []


def test_threads_keep_order_and_report() -> None:
    seen: list[tuple[int, int]] = []
    assert on_threads(lambda x: x * x, range(50), lambda *a: seen.append(a)) == [x * x for x in range(50)]
    assert seen == [(i + 1, 50) for i in range(50)]


def test_an_error_drops_what_has_not_begun() -> None:
    begun, gate = [], threading.Event()

    def work(item: int) -> None:
        if item == 0:
            gate.wait(0.05)
            raise BenchError("broken")
        gate.wait(0.01)
        begun.append(item)

    with pytest.raises(BenchError, match="broken"):
        on_threads(work, range(2000))
    assert len(begun) < 1000
