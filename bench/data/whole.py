"""Whether all files of a dataset are sound: the walk of `data check`, remembered until a file changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.content import content_of
from bench.data.roots import DataRoots, open_dataset
from bench.errors import BenchError
from bench.files import read_json, write_json
from bench.spec.cell import Part, canonical

if TYPE_CHECKING:
    from datasets.base import Progress

_SHOWN = 3


def _kept_check(store: Path, part: Part, data_sha256: str) -> Path:
    """Return where it is kept that a dataset passed its check, with these options and this content."""
    text = canonical({"dataset": part.identity(), "data": data_sha256})
    return store / ".cache" / "checks" / f"{part.name}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def faults(parts: Iterable[Part], roots: DataRoots, store: Path, progress: Progress | None = None) -> list[str]:
    """Check each dataset whole, once, and return a line for each that has problems.

    Args:
        parts: the datasets.
        roots: where they lie.
        store: keeps which content has passed.
        progress: called with (done, total) images.
    """
    found = []
    for part in dict.fromkeys(parts):
        try:
            kept = _kept_check(store, part, content_of(part, roots).sha256)
            if read_json(kept) is not None:
                continue
            report = open_dataset(part, roots).check(progress)
        except BenchError as error:
            found.append(str(error))
            continue
        if report.problems:
            first = "; ".join(report.problems[:_SHOWN])
            count = len(report.problems)
            problems = f"{count} problem{'s' if count > 1 else ''}"
            found.append(f"dataset '{part.name}': {problems}: {first}; see `data check {part.name}`")
        else:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, {"root": report.root, "counts": report.counts})
    return found
