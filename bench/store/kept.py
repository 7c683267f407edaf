"""Which weights a finished run keeps: by ``resources.weights`` when it ends, and by ``prune`` afterwards."""

from __future__ import annotations

from typing import Any

from bench.spec.resources import KeptWeights
from bench.store.results import WEIGHTS
from bench.store.run import Run, State

_KEPT: dict[KeptWeights, tuple[str, ...]] = {
    "none": (),
    "last": ("last",),
    "best": ("best", "selected"),
    "both": WEIGHTS,
}


def unwanted(kept: KeptWeights) -> dict[str, str]:
    """Return which weights ``resources.weights`` doesn't keep, each with what it says, for :func:`record_done`."""
    return {which: f"resources.weights: {kept}" for which in WEIGHTS if which not in _KEPT[kept]}


def record_done(run: Run, unkept: dict[str, str], **facts: Any) -> None:
    """Record that a run is done, and remove the weights that it doesn't keep.

    Only the process that holds the run's claim may call it, when its result is written.

    Args:
        run: the run.
        unkept: which weights are removed, and by what.
        facts: of the state.
    """
    before = _unkept(run)
    both = {**before, **unkept}
    run.write_state(State.DONE, **facts, **({"unkept": both} if both else {}))
    for which in unkept:
        run.weights(which).unlink(missing_ok=True)


def _unkept(run: Run) -> dict[str, str]:
    found = run.last_state().get("unkept")
    return dict(found) if isinstance(found, dict) else {}


def why_absent(run: Run, which: str) -> str:
    """Say why a run has no weights of a name, and which it has."""
    there = [name for name in WEIGHTS if run.weights(name).is_file()]
    rest = f"; it has: {', '.join(there)} (--select)" if there else ""
    by = _unkept(run).get(which)
    if by is None or not run.is_done():
        return f"{run.weights(which)}: there are no such weights; the run is not done, or has no '{which}'"
    return f"{run.id}: its '{which}' weights weren't kept ({by}){rest}"
