"""What a run was computed with, beside its cell: the facts of its attempts that can move a result.

One list, :data:`FACTS`, says which they are and where each is read. ``table --runs`` has a column for each, and
:mod:`bench.report.differences` names those that differ where runs are pooled or compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from bench.errors import Damaged
from bench.files import sound_rows
from bench.store.rounding import read_rounding
from bench.store.run import Run

FILES = ("attempts.jsonl", "rounding.json")
THEN = " → "  # between the values of a run whose attempts differ, in their order
PLUGIN = "plugin "  # and the file's name: the column of a plug-in file
Values = Mapping[str, tuple[str, ...]]  # by column, in the order of the attempts; what isn't known isn't there


@dataclass(frozen=True)
class Fact:
    """Something that can move a result and is no part of a cell's id, or not of it alone.

    Attributes:
        column: its name in ``table --runs``.
        label: its name in a sentence.
        path: the keys that lead to it in a line of attempts.jsonl; none for what is put together (:func:`_combined`).
        on: the kind of device on which it matters; empty: on all.
        key: the key of a grid that asks for it; where that is an axis, a difference is meant.
        digits: of a hash, as many as a sentence shows.
    """

    column: str
    label: str
    path: tuple[str, ...] = ()
    on: Literal["", "cpu", "cuda"] = ""
    key: str = ""
    digits: int | None = None


# Packages that compute: they decode, draw, assign or train.
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "simplejpeg", "scipy")
FACTS = (
    *(Fact(name, name, ("packages", name)) for name in _PACKAGES),
    Fact("python", "Python", ("python",)),
    Fact("commit", "commit"),
    Fact("mixed_code", "mixed code: the code within a run"),
    Fact("device_model", "device"),
    Fact("threads", "number of threads", ("threads",), "cpu"),
    Fact("processes", "number of processes", ("processes",)),
    Fact("cpu_capability", "CPU instruction set", ("cpu_capability",), "cpu"),
    Fact("cuda", "CUDA", ("cuda",), "cuda"),
    Fact("cudnn", "cuDNN", ("cudnn",), "cuda"),
    Fact("compile", "compile", ("compile",)),
    Fact("tf32", "TF32 in matrix products", ("tf32",), "cuda"),
    Fact("tf32_convolutions", "TF32 in convolutions", ("tf32_convolutions",), "cuda", "numerics.tf32"),
    Fact("deterministic_algorithms", "deterministic mode", ("deterministic_algorithms",)),
    Fact("deterministic_warn_only", "deterministic mode that only warns", ("deterministic_warn_only",)),
    Fact("cudnn_benchmark", "cuDNN benchmark", ("cudnn_benchmark",), "cuda"),
    Fact("kernel_variables", "environment variables of kernels", ("kernel_variables",)),
    Fact("data_sha256", "content of the dataset", digits=8),
)
_BY_COLUMN = {fact.column: fact for fact in FACTS}


def fact(column: str) -> Fact:
    """Return the fact that a column holds: one of :data:`FACTS`, or a plug-in file's hash."""
    known = _BY_COLUMN.get(column)
    return known or Fact(column, f"plug-in {column.removeprefix(PLUGIN)}", digits=8)


def _commit(attempt: Mapping[str, Any]) -> str | None:
    """Return `5810a0c8`, or with changes `5810a0c8+changes (code 1a2b3c4d)`: the hash tells one change from another."""
    sha, code = attempt.get("git_sha"), str(attempt.get("code_sha256") or "")[:8]
    if not sha:
        return f"code {code}" if code else None
    changes = f"+changes{f' (code {code})' if code else ''}" if attempt.get("git_dirty") else ""
    return f"{str(sha)[:8]}{changes}"


def _on_cpu(attempt: Mapping[str, Any]) -> bool:
    return attempt.get("device") == "cpu"


def _combined(attempt: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the facts that aren't simply a value of an attempt."""
    yield "commit", _commit(attempt)
    code = attempt.get("code_sha256")
    yield "mixed_code", str(code)[:8] if code else None  # kept only where a run has more than one
    yield "device_model", attempt.get("cpu" if _on_cpu(attempt) else "device")
    plugins = attempt.get("plugins")
    for name, digest in sorted(plugins.items()) if isinstance(plugins, dict) else ():
        yield f"{PLUGIN}{name}", digest


def _simple(attempt: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    kind = "cpu" if _on_cpu(attempt) else "cuda"
    for one in FACTS:
        if one.path and one.on in ("", kind):
            value: Any = attempt
            for key in one.path:
                value = value.get(key) if isinstance(value, dict) else None
            yield one.column, value


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}={of}" for name, of in sorted(value.items())) or "none"
    return "".join(c for c in " ".join(str(value).split()) if c.isprintable())


def _that_count(attempts: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the attempts from which the result comes: from the last one that began at the first step."""
    anew = [number for number, attempt in enumerate(attempts) if attempt.get("goes_on") is False]
    return attempts[anew[-1] :] if anew else attempts


def values(attempts: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the values of each fact in the order of the attempts, those that follow themselves once."""
    found: dict[str, list[str]] = {"mixed_code": []}
    for attempt in _that_count(attempts):
        for column, value in (*_simple(attempt), *_combined(attempt)):
            if value is not None:
                known, said = found.setdefault(column, []), _words(value)
                if known[-1:] != [said]:
                    known.append(said)
    if len(found["mixed_code"]) < 2:
        del found["mixed_code"]
    return found


def read(directory: Path, models: Sequence[str], data_sha256: str) -> str:
    """Return what a run was computed with as JSON text: lists of texts by column, see :func:`parsed`.

    Where attempts.jsonl is missing (a run of an earlier version, or from another store) or damaged, what rounding.json
    says stands for it, and the rest is unknown: never an error.

    Args:
        directory: the run's.
        models: of the devices on which it was trained, as state.json has them; empty where it has none.
        data_sha256: fingerprint of the dataset, as result.json has it; empty where it has none.
    """
    found = values(sound_rows(directory / FILES[0]))
    with suppress(Damaged, OSError):
        noted = read_rounding(Run(directory))
        models = models or noted.get("models", [])
        on_cpu = noted.get("device", "cpu") == "cpu"
        columns_of: tuple[Literal["threads", "compile"], ...] = ("threads", "compile") if on_cpu else ("compile",)
        for column in columns_of:
            if column in noted:
                found.setdefault(column, [_words(noted[column])])
    if models:  # they know of a start anew that attempts of earlier versions don't
        found["device_model"] = [_words(model) for model in models]
    if data_sha256:
        found["data_sha256"] = [data_sha256]
    return json.dumps(found, sort_keys=True) if found else ""


@lru_cache(maxsize=4096)
def parsed(text: str) -> Values:
    """Return what :func:`read` wrote; the runs of a grid have few different texts."""
    return {column: tuple(of) for column, of in json.loads(text or "{}").items()}


def columns(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return a column for each fact, and for each plug-in file that any run has; empty where a run doesn't know it."""
    rows = [parsed(text) for text in texts]
    plugins = sorted({column for row in rows for column in row if column.startswith(PLUGIN)})
    names = [*(one.column for one in FACTS), *plugins]
    return {name: [THEN.join(row.get(name, ())) for row in rows] for name in names}
