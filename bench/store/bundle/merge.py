"""Merges a bundle into a store: everything is verified first, each run is moved in whole, and nothing is overwritten."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import read_json, sync, sync_directory
from bench.locks import lock
from bench.store.bundle.check import check
from bench.store.bundle.layout import ENVIRONMENT, GRID, MANIFEST, PLAN, Manifest
from bench.store.bundle.read import Bundle, open_bundle
from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.schema import check_schema, note_schema

ORIGIN = "origin.json"  # in a merged run's directory: the bundle that it came from
_STAGED = ".merge-"
_SYNCS = 32  # files that are brought onto the disk at a time
_FOLDERS = {"splits": ".splits", "data": ".data"}


@dataclass
class Merged:
    """What a merge did.

    Attributes:
        sha256, manifest: of the bundle.
        new: ids of the runs that were merged.
        same: ids of those that the store has with the same result.
        kept: of those that the store has otherwise, and why they were left as they are.
        notes: what couldn't be checked.
        grid: the bundle's grid, as the store keeps it now; None where nothing was merged.
    """

    sha256: str
    manifest: Manifest
    new: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    grid: Path | None = None


def merge(path: Path, store: Path, keep_existing: bool = False) -> Merged:
    """Merge a bundle into a store.

    Args:
        path: the bundle.
        store: the run store; it is made where there is none.
        keep_existing: where a run has another result here, keep it and merge the rest.

    Raises:
        BenchError: if the bundle is damaged, changed or doesn't fit, or a run has another result here. Nothing has been
            written then.
    """
    check_schema(store)
    with open_bundle(path) as bundle:
        _check_space(bundle, store)
        bundle.verify()
        merged = Merged(bundle.sha256, bundle.manifest, notes=check(bundle))
        differing = _compare(bundle, store, merged)
        if differing and not keep_existing:
            some = "; ".join(f"{run_id}: {words}" for run_id, words in list(differing.items())[:3])
            more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise BenchError(
                f"{path}: {store} has another result for {len(differing)} of its runs ({some}{more}); nothing was merged: "
                "--keep-existing leaves these as they are and merges the rest"
            )
        merged.kept |= differing
        if merged.new:
            with _staging(store) as folder:
                _stage(bundle, folder, merged.new)
                merged.grid = _move_in(bundle, folder, store, merged)
    return merged


def _check_space(bundle: Bundle, store: Path) -> None:
    there = next(folder for folder in [store, *store.absolute().parents] if folder.exists())
    free = shutil.disk_usage(there).free
    if bundle.size > free:
        bundle.refuse("", f"unpacked it has {bundle.size / 1e9:,.1f} GB, and {there} has {free / 1e9:,.1f} GB free")


def _compare(bundle: Bundle, store: Path, merged: Merged) -> dict[str, str]:
    """Sort the bundle's runs by what the store has of them; return in words how results differ, by id."""
    differing = {}
    for run_id, state in bundle.manifest.runs.items():
        run = Run(store / run_id)
        if not os.path.lexists(run.path):
            merged.new.append(run_id)
        elif run.held():
            merged.kept[run_id] = "a process works on it here"
        elif not run.is_done():
            here = current_state(run)["state"]
            merged.kept[run_id] = f"{here} here; remove {run.path} to take the bundle's, which is {state}"
        elif state != State.DONE.value:
            merged.kept[run_id] = f"done here, {state} in the bundle"
        elif words := _difference(run, bundle.mapping(f"runs/{run_id}/result.json")):
            differing[run_id] = words
        else:
            merged.same.append(run_id)
    return differing


def _difference(run: Run, other: Mapping[str, Any]) -> str:
    """Return in words how a run's result here differs from another one; nothing where it doesn't."""
    try:
        mine = read_json(run.result)
    except ValueError:
        mine = None
    if not isinstance(mine, dict):
        return f"{run.result} can't be read"
    # Keys that only one of them has come from another version of the code.
    keys = [key for key in mine if key in other and mine[key] != other[key]]
    if not keys:
        return ""
    both = [f"{one['last']['miou']:.4f}" for one in (mine, other)]
    same = f"{both[0]} in both, but {' and '.join(keys)} differ"
    return "mIoU " + (same if both[0] == both[1] else f"{both[0]} here, {both[1]} in the bundle")


@contextmanager
def _staging(store: Path) -> Iterator[Path]:
    """Give a folder in the store that is gone afterwards; what a merge that was killed left is removed first."""
    store.mkdir(parents=True, exist_ok=True)
    with (store / f"{_STAGED}lock").open("ab") as file:
        if not lock(file):
            raise BenchError(f"{store}: another merge works on it; try again when it has ended")
        for left in store.glob(f"{_STAGED}*"):
            if left.is_dir():
                shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(prefix=_STAGED, dir=store))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _stage(bundle: Bundle, folder: Path, new: list[str]) -> None:
    """Unpack the new runs, and all that isn't a run's, into a folder."""
    runs = {f"runs/{run_id}/{file}" for run_id in new for file in bundle.files_of(run_id)}
    for name in bundle.manifest.files:
        if name in runs or not name.startswith("runs/"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                file.writelines(bundle.chunks(name))
    _write(folder / MANIFEST, bundle.manifest.model_dump(mode="json"))
    for run_id in new:
        _write_origin(bundle, folder / "runs" / run_id)
    with ThreadPoolExecutor(_SYNCS) as pool:  # one after the other they take more than twice as long
        list(pool.map(sync, [path for path in folder.rglob("*") if path.is_file()]))


def _write(path: Path, value: object) -> None:
    """Write a file in the staging folder, where nobody reads it before it is whole and synced."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_origin(bundle: Bundle, run: Path) -> None:
    """Note in a run's directory which bundle it came from; what it says already of an earlier one is kept within."""
    said, path = bundle.manifest, run / ORIGIN
    try:
        earlier = read_json(path)
    except ValueError:
        earlier = None
    origin = {
        "bundle": bundle.path.name,
        "bundle_sha256": bundle.sha256,
        "grid": said.grid,
        "host": said.host,
        "created": said.created,
        "tool_version": said.tool_version,
        "merged": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    _write(path, origin if earlier is None else {**origin, "earlier": earlier})


def _move_in(bundle: Bundle, folder: Path, store: Path, merged: Merged) -> Path:
    """Move what is staged to its places, runs last; return where the bundle's grid is."""
    note_schema(store)
    for staged, kept in _FOLDERS.items():
        (store / kept).mkdir(exist_ok=True)
        for path in (folder / staged).glob("*.json"):
            if not (store / kept / path.name).exists():
                path.replace(store / kept / path.name)
    record = store / ".bundles" / bundle.sha256[:16]
    record.mkdir(parents=True, exist_ok=True)
    grid = record / f"{bundle.manifest.grid}.yaml"
    for name, target in ((MANIFEST, MANIFEST), (PLAN, PLAN), (ENVIRONMENT, ENVIRONMENT), (GRID, grid.name)):
        if (folder / name).exists():
            (folder / name).replace(record / target)
    for run_id in list(merged.new):
        try:
            (folder / "runs" / run_id).rename(store / run_id)  # fails where there is one by now
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            merged.new.remove(run_id)
            merged.kept[run_id] = "it began here while the bundle was being merged"
    sync_directory(store)
    return grid
