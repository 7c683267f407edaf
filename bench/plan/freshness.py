"""What a kept plan depends on beside its grid and the code: what the data contain, and the files that options name.

Looking at them is quick and needs no torch, so a grid that was planned before need not be planned again to know that its
plan still holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.data.content import content_of, known_hash
from bench.data.roots import DataRoots
from bench.data.splits import draw_split, keep_split, split_path
from bench.errors import BenchError
from bench.plan.absent import names_hash
from bench.plan.cells import Plan
from bench.spec.cell import PARTS, Part, resolve_part
from bench.store.summary import DrawnSplit, Freshness, KnownData


def freshness(plan: Plan, store: Path) -> Freshness:
    """Return what a plan depends on.

    That are every split with how it was drawn, what the data contain, the state of every file that an option names, and
    the store's runs where cells rest on them.
    """
    splits, data, parts = dict[Any, str](), dict[Part, str](), set[Part]()
    for planned in [*plan.trials, *plan.cells]:
        cell = planned.cell
        if planned.waits:
            continue
        if cell.dataset not in plan.absent:
            splits[cell.dataset, cell.protocol, cell.seeds.split, cell.evaluation.held_out] = cell.split_sha256
        data[cell.dataset] = planned.data_sha256
        parts |= {getattr(cell, kind) for kind in PARTS}
    drawn = [
        DrawnSplit(dataset=dataset.spec(), protocol=protocol.spec(), seed=seed, holdout=holdout, sha256=sha256)
        for (dataset, protocol, seed, holdout), sha256 in splits.items()
    ]
    known = [
        KnownData(dataset=part.spec(), sha256="" if part in plan.absent else sha256, reason=plan.absent.get(part, ""))
        for part, sha256 in data.items()
    ]
    seeds = {planned.cell.seeds.split for planned in plan.cells}
    # ``{seed}`` in a path stands for the split seed, see the protocol `files`.
    written = {text for part in parts for text in _texts(part.spec())}
    texts = sorted({text.replace("{seed}", str(seed)) for text in written for seed in seeds})
    files = {text: stamp for text in texts if (stamp := _stamp(text))}
    groups = [] if plan.tuned is None else plan.tuned.groups
    chosen = [None if group.outcome is None else group.outcome.chosen for group in groups]
    return Freshness(
        splits=drawn, data=known, files=files, runs=names_hash(store) if plan.absent else "", chosen=chosen
    )


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
    """Tell whether a plan still holds: its data are the same, and so are the named files; its splits are in the store.

    A split is a function of the data, the named files and the code, so it is drawn again only where the store lost it.
    """
    if any(_stamp(text) != stamp for text, stamp in found.files.items()):
        return False
    if found.runs and found.runs != names_hash(store):
        return False
    try:
        return all(_same_data(known, roots) for known in found.data) and all(
            _kept(s, store, roots) for s in found.splits
        )
    except BenchError:  # planning says what is wrong, and where
        return False


def _same_data(known: KnownData, roots: DataRoots) -> bool:
    if known.sha256 and known_hash(known.dataset, roots) == known.sha256:
        return True
    part = resolve_part("dataset", known.dataset, "dataset")
    try:
        return content_of(part, roots).sha256 == known.sha256
    except BenchError as error:
        return str(error) == known.reason


def _kept(split: DrawnSplit, store: Path, roots: DataRoots) -> bool:
    """Tell whether the store has a split, drawing it again if it has lost it."""
    if split_path(store, split.sha256).exists():
        return True
    dataset = resolve_part("dataset", split.dataset, "dataset")
    protocol = resolve_part("protocol", split.protocol, "protocol")
    manifest = draw_split(dataset, protocol, split.seed, roots, split.holdout)
    keep_split(store, manifest)
    return manifest.sha256 == split.sha256
