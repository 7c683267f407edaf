"""Files of the store: whole, or taken back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from bench import files
from bench.files import append_jsonl, read_jsonl


class Short(io.FileIO):
    """A file whose first write takes in half of what it is given, and whose second one may fail."""

    calls = 0
    then_full = False

    def write(self, data: Any) -> int:
        type(self).calls += 1
        if self.calls == 1:
            return super().write(bytes(data)[: len(data) // 2])
        if self.calls == 2 and self.then_full:
            raise OSError(28, "No space left on device")
        return super().write(data)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> type[Short]:
    class Fresh(Short):
        pass

    monkeypatch.setattr(Path, "open", lambda self, mode="r", **_: (Fresh if "a" in mode else io.FileIO)(self, mode))
    return Fresh


def test_a_write_that_is_cut_short_is_completed(tmp_path: Path, short: type[Short]) -> None:
    path = tmp_path / "a.jsonl"
    append_jsonl(path, {"step": 1, "text": "x" * 50})
    append_jsonl(path, {"step": 2})
    assert [row["step"] for row in read_jsonl(path)] == [1, 2]
    assert short.calls == 3


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path, short: type[Short]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"step": 0}\n')
    short.then_full = True
    with pytest.raises(OSError, match="No space left"):
        append_jsonl(path, {"step": 1, "text": "x" * 50})
    assert path.read_bytes() == b'{"step": 0}\n'


def test_sync_returns_the_length(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_jsonl(path, {"step": 1})
    assert files.sync(path) == path.stat().st_size
