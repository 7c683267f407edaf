"""Errors of a file system that pass are waited for; others are raised at once, and none is taken for an absence."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import patience
from bench.files import read_json, read_jsonl, write_json


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.0, 0.0, 0.0))


def failing(times: int, code: int, then: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that fails some times."""
    left = iter(range(times))

    def call(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is not None:
            raise OSError(code, os.strerror(code))
        return then(*arguments, **options)

    return call


@pytest.mark.parametrize("code", sorted(patience.IN_SECONDS))
def test_what_passes_is_waited_for(code: int) -> None:
    assert patience.patiently(failing(3, code, lambda: 7)) == 7
    with pytest.raises(OSError, match=os.strerror(code)):
        patience.patiently(failing(4, code, lambda: 7))


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_what_does_not_pass_is_raised_at_once(code: int) -> None:
    with pytest.raises(OSError, match=os.strerror(code)):
        patience.patiently(failing(1, code, lambda: 7))


@pytest.mark.parametrize("code", sorted(patience.AWAY))
def test_a_file_system_that_is_away_is_told_by_what_an_error_came_from(code: int) -> None:
    error = RuntimeError("the library could not write")
    error.__cause__ = OSError(code, os.strerror(code))
    assert patience.is_away(error) and patience.is_away(error.__cause__)
    assert not patience.is_away(RuntimeError("unrelated"))


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOTDIR])
def test_what_is_missing_is_away_where_all_of_it_is(tmp_path: Path, code: int) -> None:
    error, place = OSError(code, os.strerror(code)), tmp_path / "cell.json"
    assert patience.is_away(error, place) and not patience.is_away(error)
    place.touch()
    assert not patience.is_away(error, place)


def test_a_full_disk_and_a_refusal_are_not_away(tmp_path: Path) -> None:
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM):
        assert not patience.is_away(OSError(code, os.strerror(code)), tmp_path / "missing")


def test_an_error_is_no_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    assert not patience.exists(path) and not patience.exists(path / "below")
    path.write_text("{}")
    assert not patience.exists(path / "below a file")
    real = os.lstat
    monkeypatch.setattr(os, "lstat", failing(3, errno.ESTALE, real))
    assert patience.exists(path)
    monkeypatch.setattr(os, "lstat", failing(4, errno.EIO, real))
    with pytest.raises(OSError, match="Input/output"):
        patience.exists(path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    write_json(tmp_path / "a.json", {"a": 1})
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    yield tmp_path


def test_files_of_the_store_are_read_patiently(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.read
    for read, value in (
        (lambda: read_json(store / "a.json"), {"a": 1}),
        (lambda: [*read_jsonl(store / "a.jsonl")], [{"a": 1}]),
    ):
        monkeypatch.setattr(os, "read", failing(3, errno.ESTALE, real))
        assert read() == value


def test_files_of_the_store_are_written_patiently(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(2, errno.EIO, os.fsync))
    write_json(store / "a.json", {"a": 2})
    assert read_json(store / "a.json") == {"a": 2}
    assert sorted(path.name for path in store.iterdir()) == ["a.json", "a.jsonl"]
