"""What lies where in a bundle: its manifest, the names of its members, and which files of a run it takes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from bench.store.run import State

FORMAT, FORMAT_VERSION = "semisegbench-bundle", 1
MANIFEST, PLAN, GRID, ENVIRONMENT = "manifest.json", "plan.json", "grid.yaml", "environment.json"
CRATE = "ro-crate-metadata.json"

# A run in one of these states has an outcome that doesn't change by itself. Others go on where they are.
ENDED = frozenset(
    state.value for state in (State.DONE, State.DIVERGED, State.OUT_OF_MEMORY, State.TIMED_OUT, State.FAILED)
)
WEIGHTS = re.compile(r"weights-(?P<which>\w+)\.pt")
# What only the process, the store or the cluster that has the run can use.
_LEFT_OUT = re.compile(r"checkpoint\b.*|weights-.*|lock|ticket\.json|.*\.damaged-\d+|.*\.tmp")
_PART = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,250}")
_HASHED = re.compile(r"(?P<folder>splits|data)/(?P<sha256>[0-9a-f]{64})\.json")
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FileEntry(BaseModel):
    """SHA-256 and size in bytes of a member's content."""

    model_config = ConfigDict(frozen=True)

    sha256: Hash
    size: NonNegativeInt


class Manifest(BaseModel):
    """The content of manifest.json; keys that it doesn't know are passed over.

    Attributes:
        format, format_version: what kind of file this is.
        tool_version, numerics_version, code: the harness that wrote it, and its commit.
        grid, title, sets, only: the grid, the ``--set`` values it was planned with, and the cells asked for.
        select: the rule that the grid fixed.
        weights: which weights are inside: `last`, `best`, `selected`, `all`, or nothing.
        created, host: when and where it was written.
        runs: state of each run inside, by id.
        open: state of each cell that hasn't ended, by id; of these there is nothing inside.
        files: every other member.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["semisegbench-bundle"]
    format_version: int
    tool_version: str
    numerics_version: int
    code: dict[str, Any]
    grid: str
    title: str
    sets: list[str]
    only: str
    select: str
    weights: str
    created: str
    host: str
    runs: dict[str, str]
    open: dict[str, str]
    files: dict[str, FileEntry]


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a file or folder in a bundle: one part of a path, not hidden, printable."""
    return _PART.fullmatch(text) is not None and text == text.strip()


def belongs(name: str, weights: str) -> bool:
    """Tell whether a file of a run goes into a bundle.

    That is every file but checkpoints, locks, tickets, what is hidden, temporary or damaged, and weights that weren't
    asked for.

    Args:
        name: its path in the run's directory, with slashes.
        weights: `last`, `best`, `selected`, `all`, or "" for none.
    """
    parts = name.split("/")
    if not all(map(is_name, parts)):
        return False
    if found := WEIGHTS.fullmatch(parts[-1]):
        return weights in ("all", found["which"])
    return _LEFT_OUT.fullmatch(parts[-1]) is None


def run_of(name: str) -> tuple[str, str] | None:
    """Return a member's run and its path in the run's directory; None where it is no run's file, or can't be one."""
    parts = name.split("/", 2)
    if len(parts) < 3 or parts[0] != "runs" or not is_name(parts[1]) or not belongs(parts[2], "all"):
        return None
    return parts[1], parts[2]


def hash_of(name: str) -> tuple[str, str] | None:
    """Return the folder (`splits`, `data`) and the hash by which a member is named; None where it isn't named so."""
    found = _HASHED.fullmatch(name)
    return (found["folder"], found["sha256"]) if found else None


def is_member(name: str) -> bool:
    """Tell whether a bundle may have a member of this name."""
    return name in (PLAN, GRID, ENVIRONMENT, CRATE) or run_of(name) is not None or hash_of(name) is not None
