"""Golden losses: twenty steps of every method from a fixed seed give the losses that are kept in ``tests/data/golden``.

They hold across every optimisation. A change that means to alter results renews them in a commit of its own:
``python -m tests.bench.train.test_golden`` writes them, and a method's ``version`` or ``bench.NUMERICS`` goes up with them.
Sums are rounded in another order on other processors, and pseudo-labels make the most of it within a few steps. So there is
a set of golden losses for each kind of processor that torch tells apart; the tolerance is for different models of one kind.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bench import registry
from bench.files import read_json, read_jsonl, write_json
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / torch.backends.cpu.get_cpu_capability().lower()
STEPS = 20
# Teachers are not confident after so few steps; with the usual thresholds there would be no unsupervised loss to watch.
OPTIONS: dict[str, dict[str, Any]] = {
    "augseg": {"threshold": 0.2},
    "classmix": {"threshold": 0.3},
    "fixmatch": {"threshold": 0.2},
    "pixel_contrast": {"threshold": 0.3, "weak_threshold": 0.2, "representation_dim": 64, "num_pixels": 256},
    "rc2l": {"min_confidence": 0.05, "min_area": 0.0},
    "reco": {
        "threshold": 0.3,
        "weak_threshold": 0.2,
        "representation_dim": 64,
        "num_queries": 64,
        "num_negatives": 128,
    },
    "unimatch": {"threshold": 0.2},
}


# The stride at which the golden losses were made, before RC²L's network had its own default in grids of other networks.
NETWORKS = {"rc2l": {"name": "mask_classifier", "backbone": "tiny", "output_stride": 16}}


def make_job(folder: Path, method: str) -> Job:
    """Plan one cell of a method, whose losses are logged at every step."""
    grid = {
        "recipe": {
            "dataset": "synthetic",
            "network": NETWORKS.get(method, {"name": "deeplabv3plus", "backbone": "tiny"}),
            "augmentation": {"reco": {"crop_size": 48, "scale": [0.75, 1.5]}},
            "schedule": {"iterations": STEPS, "batch": {"labelled": 4, "unlabelled": 4}},
            "optimizer": {"lr": 0.02, "lr_every": 1},
            "evaluation": {"every": STEPS, "batch_size": 20},
        },
        "resources": {"threads": 1, "log_every": 1, "device": "cpu"},
        "axes": {"method": [{"name": method, **OPTIONS.get(method, {})}], "protocol": [{"few_labels": 16}]},
    }
    path = folder / f"{method}.yaml"
    path.write_text(yaml.safe_dump(grid))
    request = Request(str(path), (), (), folder / "store")
    plan = make_plan(request)
    return make_jobs(plan, plan.cells, request, retry=False)[0][0]


def losses_of(folder: Path, method: str) -> list[dict[str, float]]:
    """Train and return the losses of every step."""
    job = make_job(folder, method)
    assert run_cell(job) is State.DONE
    return [row["losses"] for row in read_jsonl(Run(Path(job.store) / job.cell_id).metrics) if "losses" in row]


@pytest.mark.parametrize("method", registry.names("method"))
def test_losses_are_what_they_were(tmp_path: Path, method: str) -> None:
    golden = read_json(GOLDEN / f"{method}.json")
    assert golden is not None, (
        f"nothing in {GOLDEN}; for a new method or processor: python -m tests.bench.train.test_golden"
    )
    found = losses_of(tmp_path, method)
    assert len(found) == len(golden) == STEPS
    for step, (now, then) in enumerate(zip(found, golden, strict=True)):
        assert now == pytest.approx(then, rel=1e-3, abs=1e-5), f"step {step}"


def renew() -> None:
    """Write the golden losses of every method anew."""
    os.environ.pop("BENCH_PLUGINS", None)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for method in registry.names("method"):
        with tempfile.TemporaryDirectory() as folder:
            write_json(GOLDEN / f"{method}.json", losses_of(Path(folder), method))


if __name__ == "__main__":
    renew()
