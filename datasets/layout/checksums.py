"""``SHA256SUMS``: what a dataset's files were when this harness made them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.files import file_digest, write_if_changed
from bench.patience import read_bytes
from datasets.layout.files import on_threads

CHECKSUMS = "SHA256SUMS"


def write_checksums(root: Path, files: Sequence[Path], step: Callable[[int], None] | None = None) -> None:
    """Write ``SHA256SUMS``, which ``sha256sum -c`` reads too."""
    lines = []
    for start in range(0, len(files), 256):
        batch = files[start : start + 256]
        digests = on_threads(file_digest, batch)
        lines += [f"{d}  {p.relative_to(root).as_posix()}\n" for d, p in zip(digests, batch, strict=True)]
        if step is not None:
            step(len(batch))
    write_if_changed(root / CHECKSUMS, "".join(lines).encode())


def read_checksums(root: Path) -> dict[str, str]:
    """Return {path relative to the root: SHA-256}; empty where there is no list."""
    with contextlib.suppress(OSError, ValueError):
        lines = read_bytes(root / CHECKSUMS).decode().splitlines()
        return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    return {}
