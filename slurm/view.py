"""Slurm's view of a grid: added to the rows of ``bench.store.status``, whose files stay the truth.

Looking writes nothing. An end that only Slurm saw is shown, and :func:`settle` records it where a verb may write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.store import clock
from bench.store.failures import Fault
from bench.store.run import Run, State
from bench.store.status import GridStatus, StatusRow, totals
from bench.store.ticket import sound_ticket
from slurm import commands, records, rounds
from slurm.commands import FINAL, SlurmError, SlurmJob
from slurm.records import Array, NodeFailure, Submission
from slurm.task import ASK_OUTSIDE, NO_STORE, TRY_AGAIN, WRONG_SETUP

DELAY = 60.0  # seconds in which Slurm's commands may not show a job yet that the controller has accepted
LAUNCH_FAILED = "launch failed requeued held"
LOST = ("NODE_FAIL", "BOOT_FAIL")  # ends that no cell is to blame for
LAUNCHED_IN_VAIN = ("FAILED", "BOOT_FAIL", "NODE_FAIL")  # ends that count against a node where no cell had begun


Jobs = Mapping[tuple[str, str], SlurmJob]


@dataclass(frozen=True)
class UnrecordedEnd:
    """The end of a cell's job that Slurm knows of and the cell's files don't.

    Attributes:
        cell: the cell's id.
        submission: whose job it was.
        state: what it means for the cell.
        reason: one line.
        node: which failed it before it began; "" where that is not known, or not the node's fault.
        again: nothing is wrong with the cell; it may be submitted again by itself.
    """

    cell: str
    submission: str
    state: State
    reason: str
    node: str = ""
    again: bool = False


@dataclass
class SlurmView:
    """What a look at Slurm found, beside what it added to the rows.

    Attributes:
        error: why Slurm didn't answer, or None.
        contradictions: a line for each cell on which Slurm and the files disagree.
        ends: what Slurm saw end and no file tells.
        held: jobs that Slurm holds because a node failed to launch them.
        bad_nodes: nodes that fail cells, with the reason.
        seen: the submissions of the cells, and Slurm's jobs by id and name.
    """

    error: str | None = None
    contradictions: list[str] = field(default_factory=list)
    ends: list[UnrecordedEnd] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    bad_nodes: dict[str, str] = field(default_factory=dict)
    seen: tuple[list[Submission], Jobs] = field(default_factory=lambda: ([], {}))


def add_view(store: Path, status: GridStatus) -> SlurmView:
    """Add to a grid's status (``bench.store.status.grid_status``) what Slurm says of its jobs; nothing is written.

    Each row with a ticket gets `job`, `slurm` (Slurm's word, None where it knows nothing) and `in_queue` (None where it
    can't tell), and shows the end of a job that its files don't tell. The status gets `contradictions`, `bad_nodes`,
    `slurm_error` and `held`, and where a tuned grid isn't done `next_round`, a line for each round that comes.
    """
    rows: list[StatusRow] = [row for row in status["cells"] if row.get("submission")]
    known = {name: records.read_submission(store, name) for name in sorted({row["submission"] for row in rows})}
    submissions = [made for made in known.values() if made is not None]
    jobs, error = look(submissions)
    view = SlurmView(error, seen=(submissions, jobs))
    for row in rows:
        made = known[row["submission"]]
        if made is not None and row["array"] < len(made.arrays):
            add_to_row(store, row, made, jobs, view)
        else:
            row["in_queue"] = False
            view.contradictions.append(
                f"{row['id']}: the record of its submission {row['submission']} is gone; submit it again"
            )
    view.bad_nodes = records.bad_nodes([*records.failures(store), *failures(store, view.ends)])
    view.held = [job for row in rows if LAUNCH_FAILED in (row.get("reason") or "") and (job := row.get("job"))]
    status["contradictions"], status["slurm_error"] = view.contradictions, view.error
    status["held"], status["bad_nodes"] = view.held, view.bad_nodes
    said = [line for one in submissions if (line := rounds.said(store, one, None if view.error else jobs))]
    if said and any(row["state"] != State.DONE.value for row in reported(status)):
        status["next_round"] = list(dict.fromkeys(said))
    status["totals"] = totals(status["cells"], status["stale"])
    return view


def reported(status: GridStatus) -> list[StatusRow]:
    """Return the rows of cells that tables show: all but those of the trials of a tuned grid."""
    return [row for row in status["cells"] if "trial" not in row["coords"]]


def look(submissions: Sequence[Submission]) -> tuple[Jobs, str | None]:
    """Ask Slurm for the jobs of submissions, by id and name; return also why it doesn't answer, or None."""
    arrays = [array for made in submissions for array in made.arrays]
    ids = {array.job_id for array in arrays if isinstance(array.job_id, str)}
    if not ids:
        return {}, None
    try:
        names = {*(array.name for array in arrays), *(rounds.name(made) for made in submissions if made.next)}
        known = commands.queue(names)
    except SlurmError as error:
        return {}, str(error)
    waiting = {key: job for key, job in known.items() if job.in_queue}
    ended = _ended(ids)
    untold = commands.with_exit_codes({key: job for key, job in known.items() if key not in ended})
    return {**untold, **ended, **waiting}, None  # the queue is up to date, accounting may not be but says more


def _ended(ids: set[str]) -> Jobs:
    try:
        return commands.accounts(ids)
    except SlurmError:  # a cluster without accounting: the queue alone has to do
        return {}


def job_of(array: Array, index: int) -> str | None:
    """Return Slurm's id of the task of an array's cell; None where it is not known, or where the executor is local."""
    if not isinstance(array.job_id, str):
        return None
    return f"{array.job_id}_{index // array.pack}" if array.tasks > 1 else array.job_id


def add_to_row(store: Path, row: StatusRow, made: Submission, jobs: Jobs, view: SlurmView) -> None:
    """Add to a cell's row what Slurm says of its job; ends and contradictions go to the view.

    Args:
        store: the run store.
        row: of a cell whose ticket is of the submission.
        made: the submission.
        jobs: what Slurm knows, by id and name.
        view: takes what is found.
    """
    array = made.arrays[row["array"]]
    if array.deferred and row["state"] == State.QUEUED.value:
        waits = f"waits for room in the queue ({array.deferred})"
        row |= {"job": None, "slurm": None, "in_queue": True, "reason": waits}
        return
    if isinstance(array.job_id, list):
        _add_local(row, made, array.job_id, view)
        return
    job = job_of(array, row["index"])
    found = jobs.get((job, array.name)) if job is not None else None
    row |= {"job": job, "slurm": found.state if found else None, "in_queue": found.in_queue if found else None}
    if found is not None:
        if not row.get("node") and found.node:
            row["node"] = found.node
        if found.state == "PENDING" and found.reason:
            why = "other cells of the grid (--parallel)" if array.held and "Held" in found.reason else found.reason
            row["reason"] = "; ".join(filter(None, [row.get("reason"), f"waits: {why}"]))
        _compare(row, found, view, lambda: _setup_failure(store, made, found.id))
    elif view.error is None:
        row["in_queue"] = clock.now(store) - made.time < DELAY
        if not row["in_queue"] and row["state"] == State.QUEUED.value:
            view.contradictions.append(f"{row['id']}: the files say queued, Slurm knows no job {job}; submit it again")


def _add_local(row: StatusRow, made: Submission, pids: list[int], view: SlurmView) -> None:
    """Add what is known of a cell whose executor is local: whether a worker still runs, if it would be on this host."""
    here = made.host == os.uname().nodename  # processes of another machine can't be seen from this one
    alive = any(_worker_lives(pid, made) for pid in pids) if here else None
    row |= {"job": f"local {pids[0]}", "slurm": None, "in_queue": alive}
    if alive is False and row["state"] == State.QUEUED.value:
        _show_end(row, State.FAILED, "its process on this machine has ended without starting it; see `logs`", view)


def _compare(row: StatusRow, found: SlurmJob, view: SlurmView, setup: Callable[[], str]) -> None:
    """Compare the state that the files tell with Slurm's; `setup` reads which set-up line failed."""
    files = row["state"]
    if found.in_queue:
        if files == State.DONE.value and found.state == "RUNNING":
            view.contradictions.append(
                f"{row['id']}: done, yet Slurm says that job {found.id} runs (it may just be ending)"
            )
    elif files == State.DONE.value and found.state not in ("COMPLETED", "CANCELLED"):
        view.contradictions.append(f"{row['id']}: Slurm says {found.state}, the files say done; the files are right")
    elif files == State.RUNNING.value:
        view.contradictions.append(
            f"{row['id']}: Slurm says {found.state}, but a process on {row.get('node')} still runs it"
        )
    elif files in (State.QUEUED.value, State.PREEMPTED.value):
        _compare_end(row, found, view, setup)


def _compare_end(row: StatusRow, found: SlurmJob, view: SlurmView, setup: Callable[[], str]) -> None:
    """Show what the end of a job means for its cell, which says that it waits for a job to go on."""
    began, where = row["state"] == State.PREEMPTED.value, f" on {found.node}" if found.node else ""
    never = "" if began else found.node  # a node that ends jobs before their cells begin
    if found.code == NO_STORE:
        reason = f"its job could not write the store{where} (see $TMPDIR/bench-*.log there); submit goes on with it"
        _show_end(row, State.PREEMPTED, reason, view, never, again=True)
    elif found.code in (TRY_AGAIN, ASK_OUTSIDE) and began:
        row["reason"] = f"{row['reason']}; its job could not requeue itself, submit goes on with it"
    elif found.code in (TRY_AGAIN, ASK_OUTSIDE):
        _show_end(row, State.PREEMPTED, f"its job ended{where} before it began; submit goes on with it", view)
    elif found.code == WRONG_SETUP:
        reason = setup() or f"a set-up line of the profile failed{where}"
        _show_end(row, State.FAILED, f"{reason}; see `logs`", view)
    else:
        if found.state == "COMPLETED":
            view.contradictions.append(f"{row['id']}: Slurm says COMPLETED, the files have no result")
        reason = f"Slurm says {found.state}{where} ({found.reason}); see `logs`"
        vain = found.state in LAUNCHED_IN_VAIN and bool(never)
        again = vain or found.state in LOST
        _show_end(row, State(FINAL[found.state]), reason, view, never if vain else "", again)


def _setup_failure(store: Path, made: Submission, job: str) -> str:
    try:
        path = made.path(store) / "jobs" / f"{job}_0_log.setup"
        return " ".join(path.read_text("utf-8", errors="replace").splitlines()[-1].split())
    except (OSError, IndexError):
        return ""


def failures(store: Path, ends: Iterable[UnrecordedEnd]) -> list[NodeFailure]:
    """Return the failures of nodes among ends that only Slurm saw."""
    return [NodeFailure(end.node, end.cell, end.reason, clock.now(store)) for end in ends if end.node]


def _show_end(row: StatusRow, state: State, reason: str, view: SlurmView, node: str = "", again: bool = False) -> None:
    view.ends.append(UnrecordedEnd(row["id"], row["submission"], state, reason, node, again))
    row |= {"state": state.value, "reason": reason}


def settle(store: Path, ends: Iterable[UnrecordedEnd]) -> int:
    """Record ends that only Slurm saw, so that the files tell them when Slurm has forgotten the jobs.

    A run is left as it is where a process works on it, or where it has a result or another submission in the meantime.

    Returns:
        How many were recorded.
    """
    count = 0
    for end in ends:
        run = Run(store / end.cell)
        with run.claim() as mine:
            ticket = sound_ticket(run)
            if mine and ticket is not None and ticket.submission == end.submission and not run.is_done():
                fault = Fault.NODE.value if end.again else None
                alive = (
                    {"time": known["time"]} if "time" in (known := run.last_state()) else {}
                )  # of the process itself
                run.write_state(end.state, reason=end.reason, submission=end.submission, fault=fault, **alive)
                if end.node:
                    records.note_failure(store, end.node, end.cell, end.reason)
                count += 1
    return count


def _worker_lives(pid: int, made: Submission) -> bool:
    """Tell whether a local controller still runs; its command line names the submission's folder."""
    try:
        return made.id.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def job_logs(store: Path, row: StatusRow) -> list[Path]:
    """Return the files that submitit wrote for a cell's job: what was printed before and after the run itself."""
    made = records.read_submission(store, row["submission"]) if row.get("submission") else None
    if made is None or row["array"] >= len(made.arrays):
        return []
    array = made.arrays[row["array"]]
    job = job_of(array, row["index"])
    names = [job] if job else [str(pid) for pid in array.job_id or []]
    folder = made.path(store) / "jobs"
    return [path for name in names for kind in ("out", "err") for path in sorted(folder.glob(f"{name}_0_log.{kind}"))]
