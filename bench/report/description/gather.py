"""Gathers what is known of a grid: from its plan and the files of its runs, whatever is missing of them."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench import registry
from bench.data.roots import name_of
from bench.errors import BenchError
from bench.files import read_json
from bench.report import notes, records
from bench.report.cache import load_rows
from bench.report.description.model import DataFacts, GridFacts, RunFacts, SplitFacts
from bench.report.description.recipe import options
from bench.report.environment import parsed
from bench.report.records import Record
from bench.report.tally import tally
from bench.store.contents import kept_content
from bench.store.hours import attempts_of, spent
from bench.store.run import Run
from bench.store.summary import CellSummary, Summary

_COST = ("seconds", "device", "peak_memory_bytes", "peak_rss_bytes", "unlabelled_images")


def gather(store: Path, summary: Summary, grid: str, sets: Sequence[str] = ()) -> GridFacts:
    """Return what the store knows of a grid; nothing of it need be there.

    Args:
        store: the run store.
        summary: of the grid.
        grid, sets: as they were given on the command line.
    """
    from bench.report.tuning.standing import searched

    ids = [cell.id for cell in summary.cells]
    rows = load_rows(store, ids).select(list(_COST)).to_pylist()
    known = records.load(store, summary.cells).records
    runs = tuple(
        _run(store, summary, cell, record, row) for cell, record, row in zip(summary.cells, known, rows, strict=True)
    )
    words = [word for value in sets for word in ("--set", value)]
    data = tuple(_data_options(runs))
    return GridFacts(
        name=summary.name,
        title=summary.title or summary.name,
        select=summary.select,
        commands=tuple(
            shlex.join(["python", "bench.py", *verb])
            for verb in (["run", grid, *words, *data], ["table", grid, *words])
        ),
        data_options=data,
        runs=runs,
        data=tuple(_data(store, runs)),
        splits=tuple(_splits(store, runs)),
        software=tally(known),
        deviations=tuple(map(notes.changed, summary.deviations or ())),
        tuning=summary.tuning,
        searched=tuple(searched(store, summary)),
    )


def _data_options(runs: Iterable[RunFacts]) -> Iterator[str]:
    """Yield the words that point at the data of datasets that lie in a folder of the user's."""
    parts = [part for run in runs if (part := run.identity.get("dataset"))]
    for name in dict.fromkeys(name_of(part) for part in parts if _needs_root(part["name"])):
        yield from ("--data", f"{name}=DIR")


def _needs_root(dataset: str) -> bool:
    try:
        return bool(registry.get("dataset", dataset).needs_root)
    except BenchError:  # of a plug-in that isn't here
        return True


def _mapping(path: Path) -> Mapping[str, Any]:
    """Return a JSON object; an empty one where the file is missing or anything else."""
    try:
        found = read_json(path)
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _run(store: Path, summary: Summary, cell: CellSummary, record: Record, row: Mapping[str, Any]) -> RunFacts:
    run = Run(store / cell.id)
    identity: Mapping[str, Any] = summary.identity(cell)
    if not run.path.is_dir():
        split, data = _hash(identity.get("split")), cell.data_sha256
        return RunFacts(cell, record.run.state, record.run.status, identity, split=split, data=data)
    tries, known = attempts_of(run), _mapping(run.cell)
    last = tries[-1] if tries else {}
    on_cpu = last.get("device") == "cpu"
    identity = identity or known.get("identity") or {}
    memory = row["peak_rss_bytes"] if on_cpu else row["peak_memory_bytes"]
    return RunFacts(
        cell,
        record.run.state,
        record.run.status,
        identity,
        attempts=len(tries),
        kind=None if "device" not in last else "cpu" if on_cpu else "cuda",
        model=last.get("cpu") if on_cpu else last.get("device"),
        threads=last.get("threads"),
        processes=last.get("processes") or 1,
        seconds=_number(row["seconds"]) if record.run.state == "done" else None,
        memory=_number(memory),
        began=_time(tries[0].get("time")) if tries else None,
        ended=_time(_mapping(run.state).get("time")),
        evaluation=record.run.evaluation,
        split=record.run.split or _hash(identity.get("split")),
        data=cell.data_sha256 or str(known.get("data_sha256") or ""),
        labelled=_count(record.labelled_images),
        unlabelled=_count(row["unlabelled_images"]),
        classes=len(json.loads(record.classes or "[]")),
        commit=str(last.get("git_sha") or ""),
        dirty=bool(last.get("git_dirty")),
        spent=spent(tries, _mapping(run.state)) if tries else None,
        merged=(run.path / "origin.json").exists(),
        went_on=len(parsed(record.environment).get("device_model", ())) > 1,
        mixed_code="mixed_code" in parsed(record.environment),
    )


def _hash(value: Any) -> str:
    """Return a split's hash; "" where the plan doesn't know it, because the data isn't here."""
    return value if isinstance(value, str) and len(value) == 64 else ""


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def _count(value: float | None) -> int | None:
    return None if _number(value) is None else int(value or 0)


def _time(value: Any) -> datetime | None:
    """Return a time as it stands in files: seconds since the epoch, or `2026-01-31T10:00:00+0100`."""
    try:
        if isinstance(value, str):
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z").astimezone(timezone.utc)
        return datetime.fromtimestamp(value, timezone.utc) if value else None
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _data(store: Path, runs: Iterable[RunFacts]) -> list[DataFacts]:
    """Return the datasets of runs; two ways to prepare one dataset count as two."""
    groups: dict[str, list[RunFacts]] = {}
    for run in runs:
        part = run.identity.get("dataset") or {"name": run.cell.coords.get("dataset", "")}
        groups.setdefault(json.dumps(part, sort_keys=True), []).append(run)
    return [_dataset(store, json.loads(text), found) for text, found in groups.items()]


def _dataset(store: Path, part: Mapping[str, Any], runs: Sequence[RunFacts]) -> DataFacts:
    fingerprints = Counter(run.data for run in runs if run.data)
    contents = [content for sha256 in fingerprints if (content := kept_content(store, sha256)) is not None]
    # Data that changed between runs are told by their hashes; numbers of images are those of most runs.
    images = {name: len(ids) for name, ids in contents[0].splits.items()} if contents else {}
    classes = len(contents[0].classes) if contents else max(run.classes for run in runs)
    name = str(part["name"])
    about = next((entry.summary for entry in registry.entries("dataset") if entry.name == name), "")
    evaluated_on = str(part.get("eval_split") or "")
    return DataFacts(name, about, options(part), classes, images, evaluated_on, fingerprints)


def _splits(store: Path, runs: Iterable[RunFacts]) -> list[SplitFacts]:
    """Return the label splits of runs, each once, in grid order."""
    found: dict[tuple[str, str, str, str, str], RunFacts] = {}
    for run in runs:
        coords, seeds = run.cell.coords, run.identity.get("seeds") or {}
        place = [str(coords.get(key, "")) for key in ("dataset", "protocol", "labels")]
        key = (*place, str(seeds.get("split", coords.get("seed", ""))), run.split)
        if key not in found or run.done:
            found[key[0], key[1], key[2], key[3], key[4]] = run
    drawn = {key[:4] for key in found if key[4]}  # the plan of runs to come doesn't know it where the data isn't here
    found = {key: run for key, run in found.items() if key[4] or key[:4] not in drawn}
    known = {sha256: _mapping(store / ".splits" / f"{sha256}.json") for *_, sha256 in found}
    return [SplitFacts(*key, *_images(known[key[4]], run)) for key, run in found.items()]


def _images(manifest: Mapping[str, Any], run: RunFacts) -> tuple[int | None, int | None, int]:
    """Return the numbers of labelled, unlabelled and held-out images; those held out are labelled."""
    try:
        held_out = len(manifest.get("holdout", ()))
        return len(manifest["labelled"]) + held_out, len(manifest["unlabelled"]), held_out
    except (KeyError, TypeError):
        return run.labelled, run.unlabelled, 0
