"""Choosing a setting among the trials that are there, without those that aren't finished."""

from __future__ import annotations

from bench.errors import BenchError
from bench.plan.cells import Plan
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.plan.tuning import Group
from bench.store.trials import leave_out


def choose_among_done(planned: Plan, request: Request) -> Plan:
    """Let no choice wait for trials that aren't finished; return the plan with the choices made.

    Raises:
        BenchError: if the grid isn't tuned, or a setting has no finished trial at all.
    """
    if planned.tuned is None:
        raise BenchError("--with-what-is-there: the grid has no `tune` section")
    summary = planned.tuned.summary()
    for group, kept in zip(planned.tuned.groups, summary.groups, strict=True):
        while group.outcome is not None and (missing := group.outcome.missing):
            if len(missing) == group.outcome_open:
                raise BenchError(f"--with-what-is-there: no trial of {named(group)} is far enough to be compared")
            leave_out(request.store, summary, kept, missing)
            group.look_again(summary, request.store)
    return make_plan(request)


def named(group: Group) -> str:
    """Return a group's labels."""
    assert group.summary is not None
    return ", ".join(dict.fromkeys(group.summary.coords.values()))
