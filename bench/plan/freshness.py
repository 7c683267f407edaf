"""What a kept plan depends on beside its grid and the code: the data's splits, and the files that options name.

Drawing the splits again is quick and needs no torch, so a grid that was planned before need not be planned again to know
that its plan still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.data.roots import DataRoots
from bench.data.splits import draw_split, keep_split
from bench.errors import BenchError
from bench.spec.cell import PARTS, Cell, resolve_part
from bench.store.summary import DrawnSplit, Freshness


def freshness(cells: Iterable[Cell]) -> Freshness:
    """Return every split of the cells with how it was drawn, and the state of every file that one of their options names."""
    splits, parts = {}, set()
    for cell in cells:
        splits[cell.dataset, cell.protocol, cell.seeds.split, cell.evaluation.held_out] = cell.split_sha256
        parts |= {getattr(cell, kind) for kind in PARTS}
    drawn = [
        DrawnSplit(dataset=dataset.spec(), protocol=protocol.spec(), seed=seed, holdout=holdout, sha256=sha256)
        for (dataset, protocol, seed, holdout), sha256 in splits.items()
    ]
    texts = sorted({text for part in parts for text in _texts(part.spec())})
    return Freshness(splits=drawn, files={text: stamp for text in texts if (stamp := _stamp(text))})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _stamp(text: str) -> tuple[int, int] | None:
    """Return size and time of change of the file that a text names, or None where it names none."""
    try:
        path = Path(text).expanduser()
        status = path.stat() if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # what is no path can be anything
        return None
    return None if status is None else (status.st_size, status.st_mtime_ns)


def is_fresh(found: Freshness, store: Path, roots: DataRoots) -> bool:
    """Tell whether the data still give the same splits, which are kept in the store, and the named files are unchanged."""
    if any(_stamp(text) != stamp for text, stamp in found.files.items()):
        return False
    try:
        for split in found.splits:
            dataset = resolve_part("dataset", split.dataset, "dataset")
            protocol = resolve_part("protocol", split.protocol, "protocol")
            manifest = draw_split(dataset, protocol, split.seed, roots, split.holdout)
            if manifest.sha256 != split.sha256:
                return False
            keep_split(store, manifest)
    except BenchError:  # planning says what is wrong, and where
        return False
    return True
