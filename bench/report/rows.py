"""One run directory as one flat row: state, scores and cost, whatever condition its files are in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from bench.errors import BenchError
from bench.report import environment
from bench.store.measured import read_cost
from bench.store.results import check
from bench.store.run import Run, State

# Every state a run can be in, the worst first: the order in which tables name them.
STATES = (
    "damaged",
    "failed",
    "diverged",
    "out-of-memory",
    "timed-out",
    "cancelled",
    "preempted",
    "stopped",
    "running",
    "queued",
    "pending",
    "stale",
    "done",
)
FILES = ("state.json", "result.json", "cost.json")
ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Field:
    """Where a column is read: the file, the keys that lead to it, its type, and whether the file must have it.

    `number` columns are NaN and `text` columns empty where there is nothing; `json` columns are JSON text.
    """

    file: str
    path: tuple[str, ...]
    type: Literal["number", "text", "json"]
    required: bool = False


def _evaluation(which: Literal["last", "best", "selected"], required: bool = True) -> dict[str, Field]:
    keys: dict[str, tuple[str, Literal["number", "json"]]] = {
        "miou": ("miou", "number"),
        "step": ("step", "number"),
        "pixel_accuracy": ("pixel_accuracy", "number"),
        "iou": ("iou", "json"),
    }
    return {f"{name}_{which}": Field("result.json", (which, key), kind, required) for name, (key, kind) in keys.items()}


FIELDS: dict[str, Field] = {
    "state": Field("state.json", ("state",), "text", True),
    "reason": Field("state.json", ("reason",), "text"),
    "step": Field("state.json", ("step",), "number"),
    "iterations": Field("state.json", ("iterations",), "number"),
    "attempt": Field("state.json", ("attempt",), "number"),
    "hardware": Field("state.json", ("hardware",), "json"),
    **_evaluation("last"),
    **_evaluation("best"),
    **_evaluation("selected", required=False),
    "miou_holdout": Field("result.json", ("selected", "holdout_miou"), "number"),
    "classes": Field("result.json", ("classes",), "json", True),
    "ignore_classes": Field("result.json", ("ignore_classes",), "json"),
    "evaluation": Field("result.json", ("evaluation",), "text", True),
    "split_sha256": Field("result.json", ("split_sha256",), "text", True),
    "labelled_images": Field("result.json", ("labelled_images",), "number", True),
    "holdout_images": Field("result.json", ("holdout_images",), "number"),
    "labelled_pixels": Field("result.json", ("labelled_pixels",), "number"),
    "unlabelled_images": Field("result.json", ("unlabelled_images",), "number"),
    "data_sha256": Field("result.json", ("data_sha256",), "text"),
    "seconds": Field("cost.json", ("seconds",), "number"),
    "training_seconds_per_step": Field("cost.json", ("training_seconds_per_step",), "number"),
    "training_images_per_s": Field("cost.json", ("training_images_per_s",), "number"),
    "peak_rss_bytes": Field("cost.json", ("peak_rss_bytes",), "number"),
    "peak_memory_bytes": Field("cost.json", ("peak_memory_bytes",), "number"),
    "peak_memory_phase": Field("cost.json", ("peak_memory_phase",), "text"),
    "training_wait_share": Field("cost.json", ("training_wait_share",), "number"),
    "device": Field("cost.json", ("device",), "text"),
    ENVIRONMENT: Field(environment.FILES[0], (), "text"),  # JSON text, see :func:`bench.report.environment.read`
}
RowValues = dict[str, Any]  # a row by column: number, text or JSON text, as its field says
EMPTY: RowValues = {name: None if field.type == "number" else "" for name, field in FIELDS.items()}
EMPTY["state"] = "pending"


@lru_cache(maxsize=4096)
def one_line(text: str) -> str:
    """Return `text` on one line without control characters, so that no name or reason can break a table."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return one_line(value)


def _list(value: Any) -> str:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    return json.dumps(value, allow_nan=False)


_PARSE: dict[str, Callable[[Any], Any]] = {"number": _number, "text": _text, "json": _list}


def _field(document: Any, field: Field, default: Any) -> Any:
    value = document
    for depth, key in enumerate(field.path):
        if depth and value is None and not field.required:
            return default
        if not isinstance(value, dict):
            raise ValueError(f"'{key}' is looked for in something that is not an object")
        if key not in value and field.required:
            raise ValueError(f"it has no '{'.'.join(field.path)}'")
        value = value.get(key)
    if value is None and not field.required:
        return default
    return _PARSE[field.type](value)


def _columns(file: str, document: Mapping[str, Any]) -> RowValues:
    return {name: _field(document, field, EMPTY[name]) for name, field in FIELDS.items() if field.file == file}


def _damaged(reason: str) -> RowValues:
    return {**EMPTY, "state": State.DAMAGED.value, "reason": one_line(reason)}


def _with_stride(run: Run, protocol: str) -> str:
    """Return an evaluation protocol as runs of today name it: those of earlier versions left a window's stride out."""
    window, comma, rest = protocol.partition(", ")
    if not window.startswith("sliding ") or rest.startswith("stride "):
        return protocol
    from bench.store.evaluations import own_protocol

    try:
        stride = own_protocol(run)[1].window_stride
    except BenchError:
        return protocol
    return f"{window}, stride {stride[0]}×{stride[1]}{comma}{rest}" if stride else protocol


def read(directory: Path) -> RowValues:
    """Return the row of one run, with the columns of :data:`FIELDS`.

    A sound `result.json` makes a run done, because it is written last; without `state.json` the run is pending. A result or
    weights that can't be read make it `damaged`, with a reason that names the file; of a state or a cost that can't be read
    nothing is known. None of this is an error: one bad disk block must not hide the rest of a grid.
    """
    row, run = dict(EMPTY), Run(directory)
    for file, look in ((run.state, run.read_state), (run.cost, lambda: read_cost(run))):
        with suppress(OSError, ValueError):
            row.update(_columns(file.name, look()))
    try:
        if (result := check(run)) is not None:
            row.update(_columns(run.result.name, result), state="done", reason="")
    except (OSError, ValueError) as error:
        return _damaged(str(error))
    if row["state"] == "done" and not row["classes"]:
        return {**EMPTY, "state": State.FAILED.value, "reason": "result.json is missing although state.json says done"}
    row["evaluation"] = _with_stride(run, row["evaluation"])
    row[ENVIRONMENT] = environment.read(directory, json.loads(row["hardware"] or "[]"), row["data_sha256"])
    return row
