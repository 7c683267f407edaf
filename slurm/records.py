"""What the store keeps of submissions: one folder each under ``.slurm``, written before anything is submitted."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, field
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.errors import BenchError
from bench.files import read_json, write_json
from bench.locks import lock
from bench.spec.messages import one_line
from bench.store import clock
from slurm.plain_path import plain
from slurm.profiles import Profile

PATIENCE = 60.0  # seconds that a person's submit or cancel waits for another: jobs that end hold the lock for moments
AT_ONCE_WINDOW = 24 * 3600.0  # seconds for which a node's failures count


@dataclass
class Array:
    """One job array of a submission.

    Attributes:
        name: the job's name, found nowhere else; by it the array is found again if the submitter died.
        cells: ids in the order of the tasks; with `local`, every task works through all of them.
        profile: the resources, as a mapping: records outlive changes of :class:`Profile`. Its variables are not among them.
        variables: path of the file that sets the profile's variables, which only its owner can read; "" where it has none.
        tasks: number of tasks.
        until: the step at which a cell stops for now, by its id; none for those that run to their end.
        left_out: nodes that fail cells, which its waiting tasks were told to avoid.
        held, throttle: its share of the grid's limit of cells at a time, see :mod:`slurm.sharing`; None before it has one.
        deferred: the limit on queued jobs that leaves it no room yet, see :mod:`slurm.rolling`; "" where none does.
        job_id: Slurm's id, or with `local` the controllers' process ids; None until the controller has accepted it.
    """

    name: str
    cells: list[str]
    profile: dict[str, JsonValue]
    tasks: int
    job_id: str | list[int] | None = None
    until: dict[str, int] = field(default_factory=dict)
    variables: str = ""
    left_out: list[str] = field(default_factory=list)
    held: bool = False
    throttle: int | None = None
    deferred: str = ""

    def profile_holds(self) -> bool:
        """Tell whether the profile asks Slurm to hold its jobs, which nobody but a person releases then."""
        options = self.profile.get("options")
        return isinstance(options, dict) and bool(options.get("hold"))

    @property
    def pack(self) -> int:
        """Cells that a task runs side by side."""
        known = self.profile.get("pack", 1)
        return known if isinstance(known, int) else 1

    def until_of(self, cell: str) -> int | None:
        """Return the step at which a cell stops for now; None for its end."""
        return self.until.get(cell)

    def resources(self) -> Profile:
        """Return the profile.

        Raises:
            ValidationError: if it is of another version.
        """
        return Profile.model_validate(self.profile)


@dataclass
class Next:
    """How a tuned grid goes on after a submission.

    Attributes:
        words: those after ``bench.py`` that submit the next round.
        sets, only: the ``--set`` values and ``--only`` of the submission.
        folder: where it was submitted; what a grid names is relative to it.
        job: Slurm's id of the job that submits the next round; None where there is none.
        waits_for: ids of the jobs after whose end it starts.
        closed: the next round was submitted, or is not to be.
        why: of the latter, in one line.
    """

    words: list[str]
    sets: list[str]
    only: str | None
    folder: str
    job: str | None = None
    waits_for: list[str] = field(default_factory=list)
    closed: bool = False
    why: str = ""


@dataclass
class Submission:
    """A submission.

    Attributes:
        id: date, time and a few random letters.
        grid: the grid's name.
        snapshot: folder of the code that its jobs run.
        arrays: its job arrays.
        host: where it was submitted.
        data: folder per dataset.
        resources: the grid's.
        retry: also runs cells that diverged.
        moves: see ``bench.store.ticket.Ticket``.
        time: when (seconds since the epoch, by the clock of the store).
        next: the round after this one, of a tuned grid; None where there is none.
        over: all its jobs have ended, and what only Slurm saw of that is recorded.
    """

    id: str
    grid: str
    snapshot: str
    arrays: list[Array]
    host: str
    data: dict[str, str]
    resources: dict[str, JsonValue]
    retry: bool = False
    moves: int = 0
    time: float = field(default_factory=time.time)
    next: Next | None = None
    over: bool = False

    def path(self, store: Path) -> Path:
        """Return its folder."""
        return folder(store) / self.id

    def write(self, store: Path) -> None:
        """Keep it."""
        path = self.path(store)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "submission.json", asdict(self), indent=None)


def keep_variables(path: Path, variables: Mapping[str, str]) -> str:
    """Write a profile's variables, which may be secrets, as shell that sets them and that only its owner can read.

    Returns:
        The file's path; "" where there are none.
    """
    if not variables:
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in variables.items())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.fsencode(lines))
    return str(plain(path.resolve()))


@dataclass(frozen=True)
class NodeFailure:
    """A cell that failed on a node before its first step, or through the node's fault.

    Attributes:
        node: the node's name.
        cell: the cell's id.
        reason: of its end, in one line.
        time: when (seconds since the epoch).
    """

    node: str
    cell: str
    reason: str
    time: float


_SUBMISSION = TypeAdapter(Submission)
_FAILURE = TypeAdapter(NodeFailure)


def folder(store: Path) -> Path:
    """Return where a store keeps its submissions."""
    return store / ".slurm"


def new_id() -> str:
    """Return a new submission's id."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def read_submission(store: Path, submission: str) -> Submission | None:
    """Return a submission, or None where its record is gone.

    Raises:
        BenchError: if the record is damaged.
    """
    path = folder(store) / submission / "submission.json"
    try:
        content = read_json(path)
        return None if content is None else _SUBMISSION.validate_python(content)
    except ValidationError as error:
        raise BenchError(f"{path}: damaged: {one_line(error)}") from None
    except ValueError as error:
        raise BenchError(f"{path}: damaged: {error}") from None


def submissions(store: Path) -> list[Submission]:
    """Return all submissions, the oldest first."""
    names = sorted(path.parent.name for path in folder(store).glob("*/submission.json"))
    found = [made for name in names if (made := read_submission(store, name)) is not None]
    return sorted(found, key=lambda made: made.time)  # names have whole seconds


@contextmanager
def submitting(store: Path, patience: float = 0.0, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the store's submission lock: one submits, retries or cancels at a time.

    Args:
        store: the run store.
        patience: seconds for which somebody else is waited for.
        say: is told once where somebody else holds it, before the wait.

    Raises:
        BenchError: if somebody else holds it all that time.
    """
    folder(store).mkdir(parents=True, exist_ok=True)
    with (folder(store) / "lock").open("ab") as file:
        held = lock(file)
        if not held and patience:
            if say is not None:
                say(
                    f"another submit, retry, cancel or ending job is at work in this store: waiting {patience:.0f} s at most"
                )
            held = lock(file, patience)
        if not held:
            raise BenchError(f"{store}: another submit, retry or cancel is at work in this store; try again")
        yield


# -- nodes that fail cells -------------------------------------------------------------------------------------------


def note_failure(store: Path, node: str, cell: str, reason: str) -> None:
    """Note that a node failed a cell (see ``bench.store.failures.blames_node``)."""
    place = folder(store) / "failed-at-once"  # a file each: many nodes may write at once, over a network
    place.mkdir(parents=True, exist_ok=True)
    row = NodeFailure(node, cell, reason, clock.now(store))
    write_json(place / f"{row.time:020.6f}-{secrets.token_hex(3)}.json", asdict(row))


def failures(store: Path) -> list[NodeFailure]:
    """Return the nodes' failures of the last day, the oldest first."""
    oldest = clock.now(store) - AT_ONCE_WINDOW
    paths = sorted((folder(store) / "failed-at-once").glob("*.json"))
    rows = [_FAILURE.validate_python(read_json(path)) for path in paths]
    return [row for row in rows if row.time >= oldest]


def bad_nodes(rows: Sequence[NodeFailure]) -> dict[str, str]:
    """Return the nodes that fail cells, with the reason: at least two cells failed there that failed on no other.

    A cell that fails on every node is itself the cause.
    """
    nodes: dict[str, set[str]] = {}
    for row in rows:
        nodes.setdefault(row.cell, set()).add(row.node)
    found: dict[str, str] = {}
    for node in sorted({row.node for row in rows}):
        cells = {cell for cell, where in nodes.items() if where == {node}}
        if len(cells) >= 2:
            last = next(row.reason for row in reversed(rows) if row.node == node)
            found[node] = f"{len(cells)} cells failed there; the last one: {last}"
    return found
