"""The cache on disk: used where it fits, ignored where it doesn't, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

from bench.files import cache_dir
from datasets.layout import stamps
from datasets.layout.stamps import Known


class Sizes:
    """Finds a file's length, and counts how often."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, path: Path) -> JsonValue:
        self.found.append(path.name)
        return path.stat().st_size


def length(raw: JsonValue) -> int:
    if not isinstance(raw, int):
        raise TypeError("not a length")
    return raw


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_SETTLED_NS", 0)


def test_found_once_until_the_file_changes(tmp_path: Path) -> None:
    a, none, sizes = tmp_path / "a", tmp_path / "none", Sizes()
    a.write_text("abc")
    for _ in range(3):
        assert Known(tmp_path, "length", sizes, length).of([a, none]) == {a: 3, none: None}
    assert sizes.found == ["a"]
    assert Known(tmp_path, "another", sizes, length).of([a]) == {a: 3}
    a.write_text("abcd")
    assert Known(tmp_path, "length", sizes, length).of([a]) == {a: 4}
    assert sizes.found == ["a"] * 3


def test_none_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    calls: list[Path] = []

    def nothing(path: Path) -> JsonValue:
        calls.append(path)
        return None

    for _ in range(2):
        assert Known(tmp_path, "k", nothing, length).of([tmp_path / "a"]) == {tmp_path / "a": None}
    assert len(calls) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": [1, 2]}', b'{"a": [[0, 0, 0], 3]}', b"\xff"]
)
def test_a_damaged_cache_is_found_anew(tmp_path: Path, content: bytes) -> None:
    a, sizes = tmp_path / "a", Sizes()
    a.write_text("abc")
    Known(tmp_path, "length", sizes, length).of([a])
    (kept,) = (cache_dir() / "files").iterdir()
    kept.write_bytes(content)
    for _ in range(2):
        assert Known(tmp_path, "length", sizes, length).of([a]) == {a: 3}
    assert sizes.found == ["a"] * 2


def test_a_value_of_another_kind_is_found_anew(tmp_path: Path) -> None:
    a = tmp_path / "a"
    a.write_text("abc")
    Known(tmp_path, "length", lambda _: "long", str).of([a])
    assert Known(tmp_path, "length", Sizes(), length).of([a]) == {a: 3}


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = tmp_path / "a"
    a.write_text("abc")
    monkeypatch.setenv("BENCH_CACHE", str(a))
    assert Known(tmp_path, "length", Sizes(), length).of([a]) == {a: 3}
