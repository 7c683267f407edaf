"""Files of the store: whole or taken back, written once, hashed; and what killed writers left."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest

from bench import files
from bench.files import (
    append_jsonl,
    file_digest,
    read_json,
    read_jsonl,
    remove_leftovers,
    sync,
    write_atomically,
    write_if_changed,
    write_json,
)


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

    monkeypatch.setattr(
        files, "open_file", lambda path, mode="rb", *_: (Fresh if "a" in mode else io.FileIO)(path, mode)
    )
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
    assert sync(path) == path.stat().st_size


@pytest.mark.parametrize("sync", [True, False])
def test_equal_content_is_not_written_again(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_if_changed(path, b"one", sync=sync)
    os.utime(path, ns=(5, 5))
    write_if_changed(path, b"one", sync=sync)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (b"one", 5)
    write_if_changed(path, b"two", sync=sync)
    assert path.read_bytes() == b"two" and path.stat().st_mtime_ns != 5
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_only_a_write_without_sync_does_without_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    write_if_changed(tmp_path / "a", b"one", sync=False)
    assert not calls
    write_if_changed(tmp_path / "b", b"one")
    assert len(calls) == 2  # the file and its folder


def test_leftovers_are_found_in_folders_below_only_where_asked(tmp_path: Path) -> None:
    below = tmp_path / "images" / "a.png"
    below.parent.mkdir()

    def killed() -> None:
        os.link(next(below.parent.glob(".*.tmp")), below.parent / ".a.png.1234.tmp")  # as if the writer ended here

    write_atomically(below, lambda file: None, killed)
    remove_leftovers(tmp_path)
    assert len(list(below.parent.iterdir())) == 2
    remove_leftovers(tmp_path, recursive=True)
    assert list(below.parent.iterdir()) == [below]


def test_digests_are_hashlibs(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than is read at a time
    (tmp_path / "a").write_bytes(content)
    assert file_digest(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert file_digest(tmp_path / "a", "md5") == hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("left", [b'{"step": 1, "lo', b"\0" * 300, b'{"step": 1}', b"x" * 200_000])
def test_half_a_line_that_a_killed_writer_left_goes_before_the_next_one(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "a.jsonl"
    append_jsonl(path, {"step": 0})
    with path.open("ab") as file:
        file.write(left)
    append_jsonl(path, {"step": 2}, sync=True)
    assert path.read_bytes() == b'{"step": 0}\n{"step": 2}\n'


def test_half_a_first_line_goes_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"st')
    append_jsonl(path, {"step": 2})
    assert path.read_bytes() == b'{"step": 2}\n'


class Lying(io.FileIO):
    """A file whose first write takes in half, and says that it took all."""

    calls = 0

    def write(self, data: Any) -> int:
        type(self).calls += 1
        super().write(bytes(data)[: len(data) // 2] if self.calls == 1 else data)
        return len(data)


def test_what_was_appended_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"step": 0}\n')
    monkeypatch.setattr("bench.patience.PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(files, "open_file", lambda path, mode="rb", *_: Lying(path, mode))
    append_jsonl(path, {"step": 1, "text": "x" * 50})
    assert [row["step"] for row in read_jsonl(path)] == [0, 1] and Lying.calls == 2


def test_names_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "a.json", {"path": name})
    append_jsonl(tmp_path / "a.jsonl", {"path": name})
    assert read_json(tmp_path / "a.json") == {"path": name} and [*read_jsonl(tmp_path / "a.jsonl")] == [{"path": name}]
    (tmp_path / "a.json").read_text("utf-8")
