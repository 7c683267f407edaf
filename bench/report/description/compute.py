"""What the runs ran on and how long they took: hours per kind and model of device."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from bench.report.description.model import UNKNOWN, RunFacts, joined, number
from bench.store.hours import FAILURE, PREEMPTION, total

LOST = (PREEMPTION, FAILURE)
KINDS = {"cuda": "GPU", "cpu": "CPU"}


def figures(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return the figures of compute, as JSON types.

    Returns:
        `gpu_hours`, `cpu_hours`, `cpu_core_hours` (hours times threads) of the runs that are done and say so; the same hours
        by model; the number of runs counted; of those that began, how many are not; when the first began and the last
        ended (ISO 8601, UTC); peak memory in bytes per kind. Hours are None where no run says.
    """
    counted = [run for run in runs if run.seconds is not None and run.kind]
    by_kind = {kind: sum(_seconds(run) for run in counted if run.kind == kind) / 3600 for kind in KINDS}
    models = defaultdict[str, float](float)
    for run in counted:
        models[f"{KINDS[str(run.kind)]} {run.model}"] += _seconds(run)
    began = [run.began for run in runs if run.began]
    ended = [run.ended for run in runs if run.ended and run.attempts]
    cores = sum((run.seconds or 0) * (run.threads or 1) for run in counted if run.kind == "cpu") / 3600
    memory = {kind: [run.memory for run in runs if run.memory and run.kind == kind] for kind in KINDS}
    return {
        "gpu_hours": by_kind["cuda"] if counted else None,
        "cpu_hours": by_kind["cpu"] if counted else None,
        "cpu_core_hours": cores if counted else None,
        "hours_by_model": {model: seconds / 3600 for model, seconds in models.items()},
        "runs_counted": len(counted),
        "runs_begun_not_counted": sum(run.attempts > 0 for run in runs) - sum(run.attempts > 0 for run in counted),
        "first_began": min(began).isoformat() if began else None,
        "last_ended": max(ended).isoformat() if ended else None,
        "attempts": total(run.spent for run in runs if run.spent).as_hours(),
        "peak_memory_bytes": {KINDS[kind]: max(values) for kind, values in memory.items() if values},
    }


def _seconds(run: RunFacts) -> float:
    """Return the seconds of a run's devices: of each of its GPUs."""
    return (run.seconds or 0) * (run.processes if run.kind == "cuda" else 1)


def compute(runs: Sequence[RunFacts]) -> str:
    """Say on what hardware the runs were made, for how many hours, and what isn't counted."""
    models = Counter((run.kind, run.model) for run in runs if run.kind)
    devices = joined(f"{KINDS[kind or '']} {model} ({number(n, 'run')})" for (kind, model), n in models.most_common())
    found = figures(runs)
    gpus = Counter(run.processes for run in runs if run.kind == "cuda" and run.processes > 1)
    several = "".join(f", {count} in {number(n, 'run')}" for count, n in sorted(gpus.items()))
    text = f"Devices, one a run{several}: {devices or UNKNOWN}. "
    if not found["runs_counted"]:
        text += f"Hours: {UNKNOWN}."
    else:
        text += (
            f"{hours(found)} for training and evaluation of {number(found['runs_counted'], 'run')}, over all attempts. Not "
            "counted: steps that an interruption undid, and runs without a result"
        )
        left = found["runs_begun_not_counted"]
        text += f" ({left} began)." if left else "."
    text += _attempts(found["attempts"])
    peaks = joined(f"{peak / 1e9:.1f} GB ({kind})" for kind, peak in found["peak_memory_bytes"].items())
    text += f" Peak memory of a run: {peaks or UNKNOWN}."
    if found["first_began"] and found["last_ended"]:
        first, last = (found[key][:16].replace("T", " ") for key in ("first_began", "last_ended"))
        text += f" The first run began at {first}, the last one ended at {last} UTC."
    return text


def _attempts(found: dict[str, float]) -> str:
    """Say what all attempts took, those of runs without a result too, and what was lost."""
    if not found["hours"]:
        return ""
    lost = [f"{hours_text(found[f'lost_to_{why}'])} to {why}" for why in LOST if found[f"lost_to_{why}"]]
    unknown = found["attempts_without_end"]
    without = f" (of {number(unknown, 'attempt')} no end is known)" if unknown else ""
    return (
        f" All {number(found['attempts'], 'attempt')} together took {hours_text(found['hours'])} hours{without}, "
        f"{hours_text(found['core_hours'])} core-hours and {hours_text(found['gpu_hours'])} GPU-hours"
        + (f"; lost of them: {joined(lost)}." if lost else ".")
    )


def hours(found: dict[str, Any]) -> str:
    """Return the hours of compute in words: `12.5 GPU hours`, `3.0 CPU hours (6.0 core-hours)`."""
    words = [f"{hours_text(found['gpu_hours'])} GPU hours"] if found["gpu_hours"] else []
    if found["cpu_hours"]:
        words.append(f"{hours_text(found['cpu_hours'])} CPU hours ({hours_text(found['cpu_core_hours'])} core-hours)")
    return joined(words) or UNKNOWN


def hours_text(value: float) -> str:
    """Return a number of hours in words."""
    return f"{value:,.1f}" if value >= 1 else f"{value:.2g}"
