"""One run directory as one flat row: state, scores and cost, whatever condition its files are in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from bench.report import environment

# Every state a run can be in, the worst first: the order in which tables name them.
STATES = (
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
UNREADABLE = "unreadable"  # a run one of whose files can't be understood: in tables it is `failed`, whatever its state
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


def _check_state(row: RowValues) -> None:
    if row["state"] not in STATES:
        raise ValueError(f"unknown state {row['state']!r}")


def _check_result(row: RowValues) -> None:
    """Refuse scores that can't be: they would enter a mean unseen."""
    classes = [_text(name) for name in json.loads(row["classes"])]
    for which in ("last", "best", *(["selected"] if row["iou_selected"] else [])):
        values = [_number(value) for value in json.loads(row[f"iou_{which}"]) if value is not None]
        if any(not 0 <= value <= 100 for value in [row[f"miou_{which}"], *values]):
            raise ValueError(f"an IoU in '{which}' is not between 0 and 100")
        if len(json.loads(row[f"iou_{which}"])) != len(classes):
            raise ValueError(f"the number of IoUs in '{which}' is not the number of classes")


_CHECKS: dict[str, Callable[[RowValues], None]] = {"state.json": _check_state, "result.json": _check_result}


def _columns(directory: Path, file: str) -> RowValues | None:
    try:
        document = json.loads((directory / file).read_bytes())
    except FileNotFoundError:
        return None
    if isinstance(document, dict) and document.get("cell_id", directory.name) != directory.name:
        raise ValueError(f"it belongs to another run, {document['cell_id']}")
    columns = {name: _field(document, field, EMPTY[name]) for name, field in FIELDS.items() if field.file == file}
    if file in _CHECKS:
        _CHECKS[file](columns)
    return columns


def _unreadable(reason: str) -> RowValues:
    return {**EMPTY, "state": UNREADABLE, "reason": one_line(reason)}


def _with_stride(directory: Path, protocol: str) -> str:
    """Return an evaluation protocol as runs of today name it: those of earlier versions left a window's stride out."""
    window, comma, rest = protocol.partition(", ")
    if not window.startswith("sliding ") or rest.startswith("stride "):
        return protocol
    from bench.errors import BenchError
    from bench.store.evaluations import own_protocol
    from bench.store.run import Run

    try:
        stride = own_protocol(Run(directory))[1].window_stride
    except BenchError:
        return protocol
    return f"{window}, stride {stride[0]}×{stride[1]}{comma}{rest}" if stride else protocol


def read(directory: Path) -> RowValues:
    """Return the row of one run, with the columns of :data:`FIELDS`.

    A readable `result.json` makes a run done, because it is written last; without `state.json` the run is pending. A
    file that can't be read or understood gives the state :data:`UNREADABLE` with a reason that names it, never an error:
    one bad disk block must not hide the rest of a grid.
    """
    row = dict(EMPTY)
    for file in FILES:
        try:
            row.update(_columns(directory, file) or {})
        except (OSError, ValueError, OverflowError, RecursionError) as error:
            detail = error.strerror if isinstance(error, OSError) else str(error)
            return _unreadable(f"{file} cannot be read: {detail or type(error).__name__}")
    if row["classes"]:
        row.update(state="done", reason="")
    elif row["state"] == "done":
        return _unreadable("result.json is missing although state.json says done")
    row["evaluation"] = _with_stride(directory, row["evaluation"])
    row[ENVIRONMENT] = environment.read(directory, json.loads(row["hardware"] or "[]"), row["data_sha256"])
    return row
