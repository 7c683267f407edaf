"""The state of a run as it is now, from its files alone: what was recorded, whether its process is alive, and its ticket."""

from __future__ import annotations

import socket
from collections.abc import Callable

from bench.errors import Damaged
from bench.locks import have_locks
from bench.patience import is_away
from bench.store import clock
from bench.store.results import check
from bench.store.run import Run, State, StateRecord
from bench.store.ticket import Ticket, read_ticket

HEARTBEAT_TIMEOUT = 300.0  # seconds without a word from another host until a running cell counts as gone


def current_state(run: Run, look: Callable[[Run], object] = check) -> StateRecord:
    """Return the state as it is now, with the `submission` that the run belongs to, if any.

    A run with a result is `done`, whatever a process that was killed at the last moment left in its state, and `damaged`
    where the result or its weights can't be read. One that says `running` but whose process is gone is `preempted`. One
    whose last record is from before its ticket is `queued`; one whose ticket is cancelled, and that neither ended nor runs,
    is `cancelled`. Where its state or its ticket can't be read, it is as if there were none, and `damaged` says so.

    Args:
        run: the run.
        look: at a finished run; raises ``Damaged``. See ``bench.store.results.Checked``.
    """
    damaged = list[str]()
    try:
        state = _recorded(run, look, damaged)
        ticket = _ticket(run, damaged)
    except Damaged as error:
        return {"state": State.DAMAGED.value, "reason": str(error)}
    except OSError as error:
        if is_away(error):
            raise
        return {"state": State.DAMAGED.value, "reason": f"{run.path}: can't be read ({error.strerror})"}
    if ticket is not None:
        state = _with_ticket(state, ticket)
    return {**state, "damaged": damaged} if damaged else state


def _ticket(run: Run, damaged: list[str]) -> Ticket | None:
    try:
        return read_ticket(run)
    except Damaged as error:
        damaged.append(f"{run.ticket.name}: {error.why}")
        return None


def _recorded(run: Run, look: Callable[[Run], object], damaged: list[str]) -> StateRecord:
    try:
        state = run.read_state()
    except Damaged as error:
        damaged.append(f"{run.state.name}: {error.why}")
        state = {"state": (State.RUNNING if run.held() else State.PENDING).value}
    done = state["state"] == State.DONE.value
    if run.is_done():
        look(run)
        return state if done else {**state, "state": State.DONE.value, "reason": None}
    if done:
        reason = f"{run.result.name} is missing although state.json says done; run again to make it anew"
        return {**state, "state": State.FAILED.value, "reason": reason}
    if state["state"] != State.RUNNING.value or run.held():
        return state
    if _is_gone(run, state):
        gone = f"its process is gone since step {state.get('step', 0)}; run again to go on"
        return {**state, "state": State.PREEMPTED.value, "reason": gone, "gone": True}
    return state


def _is_gone(run: Run, state: StateRecord) -> bool:
    """Tell whether the process of a running cell is gone, whose lock nobody holds as far as this machine can see.

    On this machine that is enough, where the file system has locks. A process on another host can't be seen through every
    lock; there its heartbeat decides, by the file system's clock: the host's may be wrong.
    """
    store = run.path.parent
    if state.get("host") == socket.gethostname() and have_locks(store):
        return True
    try:
        return clock.age(run.state, store) > HEARTBEAT_TIMEOUT
    except FileNotFoundError:  # it has just been replaced
        return False


def _with_ticket(state: StateRecord, ticket: Ticket) -> StateRecord:
    kind, older = State(state["state"]), state.get("submission") != ticket.submission
    state = {**state, "submission": ticket.submission, "array": ticket.array, "index": ticket.index}
    if ticket.moves:
        state["moves"] = ticket.moves
    if kind in (State.DONE, State.RUNNING):
        return state
    if ticket.cancelled is not None and (older or kind in (State.PENDING, State.PREEMPTED)):
        return {**state, "state": State.CANCELLED.value, "reason": "cancelled; `submit --cancelled` goes on with it"}
    if older:
        return {**state, "state": State.QUEUED.value, "reason": None}
    return state
