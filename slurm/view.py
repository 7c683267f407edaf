"""Slurm's view of a grid beside the files': added to ``bench.store.status``'s rows, never in their place."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from bench.store.run import Run, State
from bench.store.status import GridStatus, StatusRow, totals
from bench.store.ticket import read_ticket
from slurm import commands, records
from slurm.commands import FINAL, Seen, SlurmError
from slurm.job import TRY_AGAIN
from slurm.records import Array, Submission

NEWS_TAKE = 60.0  # seconds for which Slurm may not have heard of a job it has just accepted
LAUNCH_FAILED = "launch failed requeued held"


def add_view(store: Path, state: GridStatus) -> GridStatus:
    """Add to a grid's status (``bench.store.status.grid_status``) what Slurm says of its jobs.

    Each row with a ticket gets `job`, `slurm` (Slurm's word, None where it knows nothing) and `in_queue` (None where it
    can't tell). Where Slurm knows the end of a run whose files don't, the end is written to its files. The status gets
    `contradictions`, `bad_nodes`, `slurm_error`, and `held`: jobs that Slurm holds because a node failed to launch them.
    """
    rows = [row for row in state["cells"] if row.get("submission")]
    known = {name: records.read_submission(store, name) for name in sorted({row["submission"] for row in rows})}
    error, seen = None, dict[tuple[str, str], Seen]()
    jobs = {
        array.job_id for s in known.values() if s is not None for array in s.arrays if isinstance(array.job_id, str)
    }
    if jobs:
        try:
            names = {array.name for s in known.values() if s is not None for array in s.arrays}
            seen = {**_accounts(jobs), **commands.queue(names)}
        except SlurmError as problem:
            error = str(problem)
    contradictions: list[str] = []
    for row in rows:
        submission = known[row["submission"]]
        if submission is not None and row["array"] < len(submission.arrays):
            _look(store, row, submission, seen, error, contradictions)
        else:
            row["in_queue"] = False
            contradictions.append(
                f"{row['id']}: the record of its submission {row['submission']} is gone; submit it again"
            )
    state["contradictions"], state["slurm_error"] = contradictions, error
    state["held"] = [job for row in rows if LAUNCH_FAILED in (row.get("reason") or "") and (job := row.get("job"))]
    state["bad_nodes"] = records.bad_nodes(records.failures(store))
    state["totals"] = totals(state["cells"], state["stale"])
    return state


def _accounts(jobs: set[str]) -> dict[tuple[str, str], Seen]:
    try:
        return commands.accounts(jobs)
    except SlurmError:  # a cluster without accounting: the queue alone has to do
        return {}


def job_of(array: Array, index: int) -> str | None:
    """Return Slurm's id of a task; None where it is not known, or where the executor is local."""
    if not isinstance(array.job_id, str):
        return None
    return f"{array.job_id}_{index}" if array.tasks > 1 else array.job_id


def _look(
    store: Path,
    row: StatusRow,
    submission: Submission,
    seen: Mapping[tuple[str, str], Seen],
    error: str | None,
    contradictions: list[str],
) -> None:
    array = submission.arrays[row["array"]]
    if isinstance(array.job_id, list):
        here = submission.host == os.uname().nodename  # what runs on another machine can't be seen from this one
        alive = any(_lane_lives(pid, submission) for pid in array.job_id) if here else None
        row |= {"job": f"local {array.job_id[0]}", "slurm": None, "in_queue": alive}
        if alive is False and row["state"] == State.QUEUED.value:
            _write(store, row, State.FAILED, "its process on this machine has ended without starting it; see `logs`")
        return
    job = job_of(array, row["index"])
    found = seen.get((job, array.name)) if job is not None else None
    row |= {"job": job, "slurm": found.state if found else None, "in_queue": found.waits if found else None}
    if found is not None and not row.get("node") and found.node:
        row["node"] = found.node
    if found is not None and found.state == "PENDING" and found.reason:
        row["reason"] = "; ".join(filter(None, [row.get("reason"), f"waits: {found.reason}"]))
    if found is None and error is None:
        row["in_queue"] = time.time() - submission.time < NEWS_TAKE
    _settle(store, row, found, error, contradictions)


def _settle(store: Path, row: StatusRow, found: Seen | None, error: str | None, contradictions: list[str]) -> None:
    """Bring the files' state and Slurm's together."""
    files = row["state"]
    if found is None:
        if error is None and not row["in_queue"] and files == State.QUEUED.value:
            contradictions.append(
                f"{row['id']}: the files say queued, Slurm knows no job {row['job']}; submit it again"
            )
        return
    if found.waits:
        if files == State.DONE.value and found.state == "RUNNING":
            contradictions.append(
                f"{row['id']}: done, yet Slurm says that job {found.job} runs (it may just be ending)"
            )
        return
    if files == State.DONE.value and found.state not in ("COMPLETED", "CANCELLED"):
        contradictions.append(f"{row['id']}: Slurm says {found.state}, the files say done; the files are right")
    elif files == State.RUNNING.value:
        contradictions.append(
            f"{row['id']}: Slurm says {found.state}, but a process on {row.get('node')} still runs it"
        )
    elif files == State.PREEMPTED.value and found.reason.startswith(f"exit code {TRY_AGAIN}:"):
        row["reason"] = f"{row['reason']}; its job could not requeue itself, submit goes on with it"
    elif files in (State.QUEUED.value, State.PREEMPTED.value):
        where = f" on {found.node}" if found.node else ""
        reason = f"Slurm says {found.state}{where} ({found.reason}); see `logs`"
        if found.state == "COMPLETED":
            contradictions.append(f"{row['id']}: Slurm says COMPLETED, the files have no result")
        _write(store, row, State(FINAL[found.state]), reason)


def _write(store: Path, row: StatusRow, state: State, reason: str) -> None:
    """Record an end that only Slurm saw, unless somebody works on the run or has moved it in the meantime."""
    run = Run(store / row["id"])
    with run.claim() as mine:
        ticket = read_ticket(run)
        if not mine or ticket is None or ticket.submission != row["submission"] or run.result.exists():
            return
        run.write_state(state, reason=reason, submission=ticket.submission)
    row |= {"state": state.value, "reason": reason}


def _lane_lives(pid: int, submission: Submission) -> bool:
    """Tell whether a local controller still runs; its command line names the submission's folder."""
    try:
        return submission.id.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def is_open(row: StatusRow) -> bool:
    """Tell whether a cell of :func:`add_view` will go on by itself: it runs, or a job that will run it is in the queue."""
    if row["state"] == State.RUNNING.value:
        return True
    waits = bool(row.get("submission")) and row.get("in_queue") is not False
    return waits and row["state"] in (State.QUEUED.value, State.PREEMPTED.value)


def attempts_log(store: Path, row: StatusRow) -> list[Path]:
    """Return the files that submitit wrote for a cell's job: what was printed before and after the run itself."""
    submission = records.read_submission(store, row["submission"]) if row.get("submission") else None
    if submission is None or row["array"] >= len(submission.arrays):
        return []
    array = submission.arrays[row["array"]]
    job = job_of(array, row["index"])
    names = [job] if job else [str(pid) for pid in array.job_id or []]
    folder = submission.path(store) / "jobs"
    return [path for name in names for kind in ("out", "err") for path in sorted(folder.glob(f"{name}_0_log.{kind}"))]
