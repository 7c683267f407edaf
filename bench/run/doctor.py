"""Looks at a machine before it is trusted with a grid, and at a store whose files may be damaged."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import locks, machine, registry
from bench.data.roots import DataRoots
from bench.run import provenance
from bench.store.healing import damage, gaps, repair
from bench.store.run import Run

Check = dict[str, str]


def _check(name: str, verdict: str, detail: str) -> Check:
    return {"name": name, "verdict": verdict, "detail": detail}


def _packages() -> Iterator[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield _check("python", "ok" if sys.version_info >= (3, 10) else "problem", python)
    for name, version in provenance.package_versions().items():
        optional = name in provenance.OPTIONAL
        missing = "not installed: only some plug-ins need it" if optional else "not installed: make setup"
        yield _check(name, "ok" if version else "note" if optional else "problem", version or missing)


def _code() -> Iterator[Check]:
    state = provenance.code_state()
    sha = state["git_sha"]
    if sha is None:
        why = state.get("git_problem", "no git checkout: runs can't record a commit")
        yield _check("code", "note", why)
    else:
        yield _check(
            "code", "note" if state["git_dirty"] else "ok", sha[:12] + (", with changes" if state["git_dirty"] else "")
        )


def _device() -> Iterator[Check]:
    import torch

    from bench.train.setup import unusable_gpus, why_no_gpu

    memory = machine.usable_memory() >> 30
    yield _check("cpu", "ok", f"{machine.cpu_model()}, {machine.usable_cores()} cores, {memory} GiB")
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            yield _check(f"gpu {i}", "ok", f"{properties.name}, {properties.total_memory >> 30} GiB")
    elif unusable_gpus():
        yield _check("gpu", "problem", why_no_gpu("auto"))
    else:
        yield _check("gpu", "note", "none: cells run on the CPU")


def _registry() -> Iterator[Check]:
    for kind in registry.kinds():
        try:
            yield _check(f"{kind}s", "ok", ", ".join(registry.names(kind)))
        except Exception as error:  # whatever a broken file raises is the finding
            yield _check(f"{kind}s", "problem", f"{type(error).__name__}: {error}")
    for path, why in registry.failures.items():
        yield _check(f"file {path}", "problem", why)


def _datasets(data: list[str]) -> Iterator[Check]:
    roots = DataRoots.parse(data)
    for entry in registry.entries("dataset"):
        root = roots.root(entry.name)
        if root.is_dir():
            yield _check(f"data {entry.name}", "ok", str(root))
        elif not entry.cls.needs_root:
            yield _check(f"data {entry.name}", "ok", f"made in {root} when first used")
        else:
            yield _check(f"data {entry.name}", "note", f"not in {root}; give --data {entry.name}=DIR")


def _store(store: Path) -> Check:
    existing = next(p for p in (store, *store.resolve().parents) if p.exists())
    if not os.access(existing, os.W_OK):
        return _check("store", "problem", f"{store}: can't be written to")
    try:
        if (why := locks.problem(existing)) is not None:
            return _check("store", "problem", why)
    except OSError as error:
        return _check("store", "problem", f"{store}: can't be written to ({error.strerror or error})")
    free = shutil.disk_usage(existing).free >> 30
    return _check("store", "ok" if free >= 5 else "note", f"{store}: {free} GiB free")


def examine_runs(store: Path, mend: bool) -> list[Check]:
    """Read every file of every run of a store, and return what is damaged, as checks of :func:`examine`.

    Args:
        store: the run store.
        mend: set damaged files aside, so that each run is done again, or begun again by the next ``run``; a run that a
            process works on mends itself.
    """
    names = sorted(path.parent.name for path in store.glob("*/*") if not path.parent.name.startswith("."))
    runs, checks = [Run(store / name) for name in dict.fromkeys(names)], list[Check]()
    for run in runs:
        found, lacking = list(damage(run)), list(gaps(run))
        checks += [_check(run.id, "note", f"{one.path.relative_to(run.path)}: {one.why}") for one in lacking]
        said = repair(run) if found and mend else []
        if said:
            checks += [_check(run.id, "note", f"set aside: {line}") for line in said]
            continue
        for one in found:
            then = "--repair sets it aside, and `run` trains the cell again" if one.lost else "`run` sets it aside"
            problem = "problem" if one.lost else "note"
            checks.append(_check(run.id, problem, f"{one.path.relative_to(run.path)}: {one.why}; {then}"))
    sound = len(runs) - len({check["name"] for check in checks})
    return [*checks, _check("runs", "ok", f"{sound} of {len(runs)} have no damaged file")]


def examine(data: list[str], store: Path) -> dict[str, list[Check]]:
    """Return ``{"checks": [{"name", "verdict": ok|note|problem, "detail"}]}``.

    Raises:
        BenchError: if `data` is malformed.
    """
    checks = [*_packages(), *_code(), *_device(), *_registry(), *_datasets(data), _store(store)]
    return {"checks": checks}
