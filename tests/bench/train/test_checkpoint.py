"""Checkpoints: whole files, written behind the loop's back, in order, and never by a process that lost its run."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.train import checkpoint
from bench.train.checkpoint import Writer, load, on_host

CPU = torch.device("cpu")


def nobody_minds() -> None:
    """Let every file be written."""


def test_a_copy_shares_nothing_with_what_it_was_made_of() -> None:
    weight = torch.nn.Parameter(torch.arange(4.0))
    content = {"a": [weight, (weight.detach(), 7)], "b": "text"}
    copy = on_host(content)
    with torch.no_grad():
        weight.zero_()
    assert copy["a"][0].tolist() == copy["a"][1][0].tolist() == [0, 1, 2, 3]
    assert copy["a"][1][1] == 7 and copy["b"] == "text" and not copy["a"][0].requires_grad


def test_what_is_written_is_what_was_given_whatever_happens_to_it_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, original = threading.Event(), torch.save

    def slow(content: object, file: Any) -> None:
        assert go.wait(10)
        original(content, file)

    monkeypatch.setattr(torch, "save", slow)
    writer, weight = Writer(nobody_minds), torch.ones(3)
    writer.write(tmp_path / "a.pt", {"weight": weight})
    weight.mul_(5)
    assert not (tmp_path / "a.pt").exists()
    go.set()
    writer.finish()
    writer.close()
    assert load(tmp_path / "a.pt")["weight"].tolist() == [1, 1, 1]


def test_files_are_written_in_order_and_the_loop_waits_when_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, order = threading.Event(), list[str]()

    def slow(path: Path, content: object, before_rename: object) -> None:
        assert go.wait(10)
        order.append(path.name)

    monkeypatch.setattr(checkpoint, "save", slow)
    writer = Writer(nobody_minds)
    writer.write(tmp_path / "1", {})
    writer.write(tmp_path / "2", {})
    third = threading.Thread(target=writer.write, args=(tmp_path / "3", {}))
    third.start()
    third.join(0.2)
    assert third.is_alive()  # one is being written, one waits: the third one's copy is not made yet
    go.set()
    third.join(10)
    writer.finish()
    writer.close()
    assert order == ["1", "2", "3"]


def test_a_process_that_lost_its_run_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, {"step": 1})

    def lost() -> None:
        raise RuntimeError("lost")

    writer = Writer(lost)
    writer.write(path, {"step": 2})
    with pytest.raises(RuntimeError, match="lost"):
        writer.finish()
    writer.close()
    assert load(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_an_error_is_raised_by_a_later_write(tmp_path: Path) -> None:
    writer = Writer(nobody_minds)
    missing = tmp_path / "no such folder" / "a.pt"
    with pytest.raises(FileNotFoundError):
        for _ in range(3):
            writer.write(missing, {})
    writer.close()


def test_what_comes_after_a_file_that_failed_is_not_written(tmp_path: Path) -> None:
    writer = Writer(nobody_minds)
    writer.write(tmp_path / "no such folder" / "weights-best.pt", {})
    with contextlib.suppress(FileNotFoundError):
        writer.write(tmp_path / "checkpoint.pt", {})
    with contextlib.suppress(FileNotFoundError):
        writer.finish()
    writer.close()
    assert list(tmp_path.iterdir()) == []
