"""Writes a bundle: the runs of a grid that have ended, with all that a table of them rests on."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bench import NUMERICS, __version__
from bench.errors import BenchError
from bench.files import read_json, write_atomically
from bench.store.bundle import crate
from bench.store.bundle.layout import CRATE, ENDED, ENVIRONMENT, FORMAT, FORMAT_VERSION, GRID, MANIFEST, PLAN, belongs
from bench.store.contents import content_path
from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.summary import Summary

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP knows: equal contents make equal bytes
_PACKED = (".pt", ".npz", ".gz")  # compressed already
# What a plan rests on: paths and times.
_OF_THIS_MACHINE: dict[str, Any] = {
    **dict.fromkeys(("freshness", "work", "needs"), True),
    **{key: {"__all__": {"needs": True}} for key in ("cells", "trials")},
}
# Of the process and of the submission that a run belonged to: elsewhere they mean nothing.
_LOCAL = ("pid", "gone", "submission", "array", "index")


@dataclass(frozen=True)
class Asked:
    """What is to go into a bundle.

    Attributes:
        store: the run store.
        summary: of the grid, with the cells that were asked for.
        grid: the grid's file.
        sets, only: what was given by ``--set`` and ``--only``.
        weights: `last`, `best`, `selected`, `all`, or "" for none.
        licence: of the results, an address: the bundle is described as a Research Object Crate; "" does without.
        environment: of this process, with the code's commit, as JSON types.
    """

    store: Path
    summary: Summary
    grid: Path
    sets: tuple[str, ...] = ()
    only: str = ""
    weights: str = ""
    licence: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """A bundle that was written: states of its runs and of the cells left out, by id; number of files; bytes."""

    path: Path
    runs: dict[str, str]
    open: dict[str, str]
    files: int
    size: int


class _Archive:
    """Adds members to a ZIP archive, and keeps their hashes."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file, "w")
        self.files: dict[str, dict[str, str | int]] = {}

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def add(self, name: str, content: bytes) -> None:
        """Add a member."""
        self._add(name, iter([content]), len(content))

    def copy(self, name: str, path: Path) -> None:
        """Add a file as it is when it is read."""
        with path.open("rb") as file:
            self._add(name, iter(lambda: file.read(1 << 20), b""), path.stat().st_size)

    def _add(self, name: str, chunks: Iterator[bytes], size: int) -> None:
        info = zipfile.ZipInfo(name, _EPOCH)
        info.create_system, info.external_attr = 3, 0o100644 << 16  # a regular file, of Unix
        info.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
        digest, length = hashlib.sha256(), 0
        with self._zip.open(info, "w", force_zip64=size >= 1 << 31) as member:
            for chunk in chunks:
                digest.update(chunk)
                length += len(chunk)
                member.write(chunk)
        self.files[name] = {"sha256": digest.hexdigest(), "size": length}


def write_bundle(output: Path, asked: Asked, force: bool = False) -> Written:
    """Write a bundle, whole or not at all.

    Runs that have ended go in, failed ones too, with every file that :func:`bench.store.bundle.layout.belongs` takes;
    cells that are still open are only named. Equal runs make equal bytes, but for the time and the host in the manifest.

    Args:
        output: the bundle's file.
        asked: what goes into it.
        force: replace a file that is there.

    Raises:
        BenchError: if there is nothing to bundle, a run's file is missing or damaged, or `output` exists.
    """
    if output.exists() and not force:
        raise BenchError(f"{output}: exists already; give another name, or --force to replace it")
    states = {cell.id: dict(current_state(Run(asked.store / cell.id))) for cell in asked.summary.cells}
    ended = {name: state for name, state in states.items() if state["state"] in ENDED}
    if not ended:
        raise BenchError(
            f"{asked.summary.name}: none of its {len(states)} cells has ended in {asked.store}: nothing to bundle"
        )
    runs = {name: str(state["state"]) for name, state in ended.items()}
    still_open = {name: str(state["state"]) for name, state in states.items() if name not in ended}

    def write(file: BinaryIO) -> None:
        with _Archive(file) as archive:
            _fill(archive, asked, ended)
            facts = {**_manifest(asked), "runs": runs, "open": still_open}
            if asked.licence:
                archive.add(CRATE, _json(crate.describe(facts, archive.files, asked.licence)))
            archive.add(MANIFEST, _json({**facts, "files": archive.files}))
        count.append(len(archive.files))

    count: list[int] = []
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, write)
    return Written(output, runs, still_open, count[0], output.stat().st_size)


def _fill(archive: _Archive, asked: Asked, ended: Mapping[str, Mapping[str, Any]]) -> None:
    splits, data = set[str](), set[str]()
    for name in sorted(ended):
        run, state = Run(asked.store / name), ended[name]
        if run.is_done() != (state["state"] == State.DONE.value):
            raise BenchError(f"{run.path}: {state.get('reason')}; mend it, or remove the folder")
        split, content = _hashes(run)
        splits.add(split)
        data |= content
        for file in _files(run, asked.weights):
            if file == run.state.name:
                facts = {key: value for key, value in state.items() if key not in _LOCAL}
                archive.add(f"runs/{name}/{file}", _json(facts))
            else:
                archive.copy(f"runs/{name}/{file}", run.path / file)
    for sha256 in sorted(splits):
        archive.copy(f"splits/{sha256}.json", _split(asked.store, sha256))
    for sha256 in sorted(data):
        if (path := content_path(asked.store, sha256)).is_file():  # runs from before it was kept have none
            archive.copy(f"data/{sha256}.json", path)
    archive.copy(GRID, asked.grid)
    archive.add(PLAN, _json(asked.summary.model_dump(mode="json", exclude=_OF_THIS_MACHINE, exclude_unset=True)))
    archive.add(ENVIRONMENT, _json(asked.environment))


def _files(run: Run, weights: str) -> list[str]:
    """Return the files of a run that go into a bundle, by their paths in its directory; links don't."""
    found = {run.state.name}
    for folder, _, names in os.walk(run.path):
        for path in (Path(folder, name) for name in names):
            name = path.relative_to(run.path).as_posix()
            if belongs(name, weights) and path.is_file() and not path.is_symlink():
                found.add(name)
    return sorted(found)


def _hashes(run: Run) -> tuple[str, set[str]]:
    """Return the hash of a run's split, and those of its data that it names."""
    try:
        cell, result = read_json(run.cell), read_json(run.result) or {}
        named = {cell["spec"].get("data_sha256"), cell.get("data_sha256"), result.get("data_sha256")}
        return str(cell["spec"]["split_sha256"]), {str(sha256) for sha256 in named if sha256}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BenchError(
            f"{run.path}: its {run.cell.name} or {run.result.name} is missing or damaged; "
            "`doctor --store DIR --repair` sets a damaged file aside, and `run` makes it anew"
        ) from None


def _split(store: Path, sha256: str) -> Path:
    path = store / ".splits" / f"{sha256}.json"
    if not path.is_file():
        raise BenchError(f"{path}: the split's manifest is missing; plan the grid again where its data is")
    return path


def _manifest(asked: Asked) -> dict[str, Any]:
    """Return what the manifest says beside runs and files."""
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time()))
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "numerics_version": NUMERICS,
        "code": {key: asked.environment.get(key) for key in ("git_sha", "git_dirty")},
        "grid": asked.summary.name,
        "title": asked.summary.title,
        "sets": list(asked.sets),
        "only": asked.only,
        "select": asked.summary.select,
        "weights": asked.weights,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
        "host": socket.gethostname(),
    }


def _json(value: object) -> bytes:
    return f"{json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)}\n".encode()
