"""Choosing a setting among the trials that are there, without those that aren't finished."""

from __future__ import annotations

from bench.errors import BenchError
from bench.plan.cells import Plan
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.plan.tuning import Group
from bench.store.trials import Outcome, leave_out


def choose_among_done(planned: Plan, request: Request) -> Plan:
    """Let no choice wait for trials that aren't finished; return the plan with the choices made.

    Trials that a rung keeps, now that it doesn't wait for others, go on from it.

    Raises:
        BenchError: if the grid isn't tuned, or no trial is far enough to be compared with those that are left out.
    """
    if planned.tuned is None:
        raise BenchError("--with-what-is-there: the grid has no `tune` section")
    summary, stuck, changed = planned.tuned.summary(), list[str](), False
    for group, kept in zip(planned.tuned.groups, summary.groups, strict=True):
        begun = False
        while group.outcome is not None and (missing := group.outcome.missing):
            if len(missing) == group.outcome_open:
                stuck += [] if begun else [named(group)]
                break
            leave_out(request.store, summary, kept, missing)
            group.look_again(summary, request.store)
            begun = changed = True
    if stuck and not changed:
        raise BenchError(f"--with-what-is-there: no trial of {'; '.join(stuck)} is far enough to be compared")
    return make_plan(request)


def named(group: Group) -> str:
    """Return a group's labels."""
    assert group.summary is not None
    return ", ".join(dict.fromkeys(group.summary.coords.values()))


def open_groups(planned: Plan) -> list[Outcome]:
    """Return how the trials stand of those settings of a tuned grid that aren't chosen yet."""
    groups = planned.tuned.groups if planned.tuned is not None else []
    return [found for group in groups if (found := group.outcome) is not None and found.chosen is None]


def waiting(planned: Plan) -> list[str]:
    """Return which settings aren't chosen yet, and for which trials that waits."""
    lines = []
    for group in planned.tuned.groups if planned.tuned is not None else ():
        found = group.outcome
        if found is None or found.chosen is not None:
            continue
        if found.missing:
            waits = (
                f"waits for trial {', '.join(map(str, found.missing))}; --with-what-is-there chooses among the others"
            )
        else:
            waits = "every trial diverged"
        lines.append(f"{named(group)}: no setting is chosen: {waits}")
    return lines
