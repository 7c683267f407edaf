"""Lines that run the command line as a user does: every method in both precisions, again, and what doesn't fit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import registry
from bench.files import REPOSITORY, read_json
from bench.store.run import Run, State
from tests.gpu.context import Context, Setting
from tests.gpu.report import MEANINGLESS, exactly

FIRST, SECOND = "cells-first", "cells-second"  # stores of the two runs that must agree
CLIP = 5.0  # a network from scratch at this rate breaks down without


def bench(*arguments: str) -> tuple[Any, str]:
    """Run ``bench.py``; return the JSON that it printed (None where it printed none) and its errors."""
    done = subprocess.run(
        [sys.executable, "bench.py", *arguments, "--json"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    print(done.stderr)
    try:
        return json.loads(done.stdout), done.stderr
    except ValueError:
        return None, done.stderr


def doctor(context: Context) -> None:
    """``doctor`` finds no problem, and a GPU."""
    found, errors = bench("doctor", "--store", str(context.folder / "doctor"))
    if found is None:
        raise RuntimeError(f"doctor: {errors[-300:]}")
    problems = [f"{c['name']}: {c['detail']}" for c in found["checks"] if c["verdict"] == "problem"]
    context.report.note("problems", "; ".join(problems) or "none", "", exactly("none"))
    gpus = [c["detail"] for c in found["checks"] if c["name"].startswith("gpu ")]
    context.report.note("GPUs", len(gpus), "", exactly(max(len(gpus), 1)))
    for said in gpus:
        context.report.note("GPU", said)


def recipe(setting: Setting, steps: int) -> dict[str, Any]:
    """Return the recipe of short cells on the dataset `blobs`, which needs no files."""
    return {
        "dataset": "blobs",
        "network": {"name": "deeplabv3plus", "backbone": setting.backbone},
        "augmentation": {"reco": {"crop_size": setting.crop, "scale": [0.75, 1.5]}},
        "schedule": {"iterations": steps, "batch": {"labelled": setting.images, "unlabelled": setting.images}},
        "optimizer": {"lr": 0.005, "lr_every": 1, "clip_norm": CLIP},
        "evaluation": {"every": max(steps // 2, 1)},
    }


def resources(steps: int) -> dict[str, Any]:
    """Return what of a short cell isn't in its id: on the GPU, with a checkpoint and a line of losses now and then."""
    often = max(steps // 4, 1)
    return {"device": "cuda", "threads": 1, "log_every": often, "checkpoint_every": often}


def run_grid(grid: Path, store: Path, workers: int, only: str | None = None) -> Mapping[str, str]:
    """Run a grid, or `only` some of its cells, into a store; return the state of each cell by id.

    Raises:
        RuntimeError: if it didn't get as far as that.
    """
    found, errors = bench(
        "run", str(grid), "--store", str(store), "--workers", str(workers), *([] if only is None else ["--only", only])
    )
    if found is None:
        raise RuntimeError(f"run {grid.name}: {' '.join(errors.split())[-300:]}")
    states: Mapping[str, str] = found["states"]
    return states


def _coordinates(cell_id: str, store: Path) -> str:
    coords = (read_json(Run(store / cell_id).cell) or {}).get("coords", {})
    return " ".join(str(value) for key, value in coords.items() if key in ("method", "numerics.precision", "precision"))


def _cells(context: Context, name: str, workers: int, only: str | None = None) -> tuple[Path, Mapping[str, str]]:
    steps, store = context.sizes.steps, context.folder / name
    axes = {"method": registry.names("method"), "protocol": [{"ratio": "1/2"}], "numerics.precision": ["fp32", "bf16"]}
    content = {"recipe": recipe(context.sizes.check, steps), "resources": resources(steps), "axes": axes}
    return store, run_grid(context.write_spec(name, content), store, workers, only)


def every_cell(context: Context) -> None:
    """Every method in both precisions ends `done`."""
    store, states = _cells(context, FIRST, context.sizes.workers)
    for cell_id, state in states.items():
        reason = Run(store / cell_id).read_state().get("reason")
        context.report.note(
            _coordinates(cell_id, store) or cell_id,
            state if reason is None else f"{state}: {reason}",
            "",
            exactly("done"),
        )
    context.report.note("cells", len(states), "", exactly(2 * len(registry.names("method"))))


def again(context: Context) -> None:
    """A second run, with another number of cells at a time, has the first one's weights, metrics and results."""
    if not (context.folder / FIRST).is_dir():
        every_cell(context)
    first = context.folder / FIRST
    only = "method=reco" if context.noop else None  # where no bit can agree, some cells are enough
    second, states = _cells(context, SECOND, max(context.sizes.workers - 1, 1), only)
    for cell_id in states:
        context.report.note(
            _coordinates(cell_id, second) or cell_id,
            ", ".join(_differences(Run(first / cell_id), Run(second / cell_id))) or "equal",
            "",
            exactly("equal", MEANINGLESS),
        )


def _differences(first: Run, second: Run) -> Sequence[str]:
    """Return what differs between two runs of a cell."""
    files = [(run.metrics.name, run.metrics) for run in (first, second)] + [
        (run.result.name, run.result) for run in (first, second)
    ]
    missing = sorted({str(path.parent.parent.name) for _, path in files if not path.exists()})
    if missing:
        return [f"not done in {store}" for store in missing]
    pairs = {"metrics": (first.metrics, second.metrics), "result": (first.result, second.result)}
    found = [name for name, (a, b) in pairs.items() if a.read_bytes() != b.read_bytes()]
    hashes = [(read_json(run.result) or {}).get("weights_sha256") for run in (first, second)]
    return found + (["weights"] if hashes[0] is None or hashes[0] != hashes[1] else [])


def too_large(context: Context) -> None:
    """A cell whose crop needs more memory than the device has ends `out-of-memory`, and the next one in line is done."""
    large = context.sizes.too_large
    content = {
        "recipe": recipe(context.sizes.check, 2),
        "resources": resources(2),
        "axes": {"method": ["supervised"], "protocol": [{"ratio": "1/2"}], "seed": [0, 1]},
        "overrides": [
            {
                "when": {"seed": 0},
                "set": {"augmentation.crop_size": large.crop, "schedule.batch.labelled": large.images},
            }
        ],
    }
    store = context.folder / "too-large"
    states = run_grid(context.write_spec("too-large", content), store, 1)
    wanted = (State.OUT_OF_MEMORY, State.DONE)
    context.report.note("cells", len(states), "", exactly(2))
    for (cell_id, state), expected in zip(states.items(), wanted, strict=True):
        context.report.note(f"the cell that is to be {expected.value}", state, "", exactly(expected.value))
        reason = Run(store / cell_id).read_state().get("reason")
        if reason:
            context.report.note("its reason", str(reason)[:160])
