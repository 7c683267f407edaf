"""What can be wrong with a file: the same ways for every test, and for ``make chaos``."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], None]


def _content(content: bytes) -> Damage:
    def write(path: Path) -> None:
        _clear(path).write_bytes(content)

    return write


def _clear(path: Path) -> Path:
    """Remove what lies at a path, so that something else can."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def _folder(path: Path) -> None:
    _clear(path).mkdir()
    (path / "inside").write_text("x")


def _sparse(path: Path) -> None:
    """Ten gigabytes that take no space."""
    with _clear(path).open("wb") as file:
        file.truncate(10 << 30)


def _half(path: Path) -> None:
    """Cut a file in the middle, as a disk does that lost what wasn't synced."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _other_types(path: Path) -> None:
    """Every value of a kind that nothing expects, under the keys that files of a run have."""
    keys = [
        *(
            "state",
            "step",
            "attempt",
            "time",
            "reason",
            "submission",
            "array",
            "threads",
            "compile",
            "models",
            "phases",
        ),
        *("spec", "identity", "coords", "seconds", "last", "best", "classes", "before", "cores", "set_aside"),
    ]
    values = ['{"a": [1]}', "[null, 7]", '"\\ud800"', "1e300", "-1", "null", "true"]
    _clear(path).write_text("{" + ", ".join(f'"{key}": {values[i % 7]}' for i, key in enumerate(keys)) + "}\n")


DAMAGES: dict[str, Damage] = {
    "empty": _content(b""),
    "{}": _content(b"{}\n"),
    "null": _content(b"null\n"),
    "random bytes": _content(random.Random(7).randbytes(700)),
    "zeros": _content(b"\0" * 4096),
    "other types": _other_types,
    "deep": _content(b"[" * 100_000 + b"]" * 100_000 + b"\n"),
    "half": _half,
    "folder": _folder,
    "FIFO": lambda path: os.mkfifo(_clear(path)),
    "link to nothing": lambda path: _clear(path).symlink_to(path.parent / "nowhere" / "file"),
    "huge": _sparse,
}
