"""Time and memory of ReCo's loss, forward and backward, against a plain version and the authors' code.

Run from the root of the repository: ``python -m tests.benchmarks.bench_reco [--rounds N] [--threads N] [--json]``.
The authors' loss takes part when ``BENCH_RECO_CHECKOUT`` names a checkout of github.com/lorenmt/reco.

Setting: representations (8, 256, 81, 81) in float32, 21 classes, all pixels valid, 256 queries, 512 negatives.
Seconds: the least of the rounds; the versions take turns, so that other load on the machine hits all of them.
Memory, in a fresh process for each version: everything above the inputs, the gradient (54 MB) included. "Resident" is
the peak of the process's resident memory (VmHWM, reset before the run) minus that before the run; "tensors" is the peak
of bytes of tensors alive, in a run under torch's MemTracker.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn import functional as F

from methods.losses.reco import draw, reco_loss
from tests.benchmarks.authors import CHECKOUT, load
from tests.benchmarks.figures import Figure, note
from tests.methods.losses.sampled import sample_indices

CLASSES, QUERIES, NEGATIVES = 21, 256, 512
STRONG, TEMPERATURE = 0.97, 0.5
SETTING: Any = {"strong_threshold": STRONG, "temperature": TEMPERATURE}


class Inputs(NamedTuple):
    """The loss's inputs."""

    representation: Tensor
    label: Tensor
    valid: Tensor
    probability: Tensor


def make_inputs(batch: int = 8, channels: int = 256, size: int = 81) -> Inputs:
    """Return random inputs."""
    g = torch.Generator().manual_seed(0)
    label = torch.randint(CLASSES, (batch, size, size), generator=g)
    probability = torch.randn(batch, CLASSES, size, size, generator=g).softmax(1)
    representation = torch.randn(batch, channels, size, size, generator=g).requires_grad_()
    return Inputs(representation, label, torch.ones_like(label, dtype=torch.bool), probability)


def ours(inputs: Inputs) -> Tensor:
    """The project's loss."""
    return reco_loss(*inputs, draw(CLASSES, QUERIES, NEGATIVES, seed=1), **SETTING)


def plain(inputs: Inputs) -> Tensor:
    """The same loss on the same samples, class by class, with the keys gathered."""
    samples = sample_indices(*inputs, draw(CLASSES, QUERIES, NEGATIVES, seed=1), **SETTING)
    rows = inputs.representation.permute(0, 2, 3, 1).flatten(0, 2)
    keys, group = rows.detach(), inputs.label.flatten()
    terms = []
    for c in range(CLASSES):
        mean = keys[group == c].mean(0).expand(QUERIES, 1, -1)
        every = torch.cat([mean, keys[samples.negative[c]]], 1)
        cosine = F.cosine_similarity(rows[samples.query[c]].unsqueeze(1), every, dim=2)
        terms.append(F.cross_entropy(cosine / TEMPERATURE, torch.zeros(QUERIES, dtype=torch.long)))
    return torch.stack(terms).mean()


def authors(inputs: Inputs) -> Tensor:
    """``compute_reco_loss`` of the checkout. It draws from the global generators, which is theirs to keep."""
    label = F.one_hot(inputs.label, CLASSES).permute(0, 3, 1, 2).float()
    mask = inputs.valid.unsqueeze(1).float()
    loss: Tensor = load("module_list").compute_reco_loss(
        inputs.representation, label, mask, inputs.probability, STRONG, TEMPERATURE, QUERIES, NEGATIVES
    )
    return loss


VERSIONS: dict[str, Callable[[Inputs], Tensor]] = {"ours": ours, "plain gather": plain, "authors": authors}


def timed(version: str, inputs: Inputs) -> tuple[float, float, Tensor]:
    """Return seconds of a forward and backward pass, the loss and its gradient."""
    start = time.perf_counter()
    loss = VERSIONS[version](inputs)
    (gradient,) = torch.autograd.grad(loss, inputs.representation)
    return time.perf_counter() - start, loss.item(), gradient


def status_mb(field: str) -> float:
    """Return a field of this process's memory status in MB (10^6 bytes)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def measure_memory(version: str) -> dict[str, float]:
    """Return the two figures of memory; to be called in a fresh process."""
    timed(version, make_inputs(batch=1, channels=8, size=33))  # loads what is loaded once
    inputs = make_inputs()
    before = status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    timed(version, inputs)
    resident = status_mb("VmHWM") - before
    tracker = MemTracker()
    tracker.track_external(*inputs)
    with tracker:
        timed(version, inputs)
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    tensors = (peak - sum(x.nbytes for x in inputs)) / 1e6
    return {"resident_mb": resident, "tensors_mb": tensors}


def memory_of(version: str, threads: int) -> dict[str, float]:
    """Return :func:`measure_memory` of a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_reco", "--memory", version, "--threads", str(threads)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(answer.splitlines()[-1])
    return figures


def compare(versions: list[str], rounds: int, threads: int) -> list[dict[str, Any]]:
    """Return a row for each version."""
    inputs = make_inputs()
    seconds: dict[str, float] = {}
    rows: dict[str, dict[str, Any]] = {}
    reference = timed("ours", inputs)[2]
    for number in range(rounds):
        for version in versions:
            took, loss, gradient = timed(version, inputs)
            print(f"round {number + 1}/{rounds}: {version} {took:.2f} s", file=sys.stderr)
            seconds[version] = min(took, seconds.get(version, took))
            difference = (gradient - reference).abs().max() / reference.abs().max()
            rows[version] = {"version": version, "loss": loss, "gradient_difference": float(difference)}
    for version, row in rows.items():
        row |= {"seconds": seconds[version], "times_ours": seconds[version] / seconds["ours"]}
        row |= memory_of(version, threads)
    return list(rows.values())


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--memory", choices=VERSIONS, help="measure the memory of one version in this process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(json.dumps(measure_memory(options.memory)))
        return
    versions = [v for v in VERSIONS if v != "authors" or CHECKOUT in os.environ]
    rows = compare(versions, options.rounds, options.threads)
    hand_over({row["version"]: row for row in rows})
    print(json.dumps(rows, indent=1) if options.json else table(rows))


def hand_over(rows: dict[str, dict[str, Any]]) -> None:
    """Give `make bench` the figures that have an aim."""
    for version, name in (("authors", "the authors' loss"), ("plain gather", "brute force, keys gathered")):
        if version in rows:
            ratio = rows[version]["times_ours"]
            note(Figure("ReCo's loss, (8, 256, 81, 81), 21 classes", name, ratio, "×", ">=", 25.0, "", rows[version]))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text."""
    lines = [f"{'ReCo loss':14}{'seconds':>9}{'× ours':>8}{'resident MB':>13}{'tensors MB':>12}{'loss':>9}"]
    for row in rows:
        lines.append(
            f"{row['version']:14}{row['seconds']:9.3f}{row['times_ours']:8.1f}"
            f"{row['resident_mb']:13.0f}{row['tensors_mb']:12.0f}{row['loss']:9.4f}"
        )
        if row["version"] == "plain gather":
            lines.append(f"{'':14}(same samples; largest difference in the gradient {row['gradient_difference']:.0e})")
    if all(row["version"] != "authors" for row in rows):
        lines.append(f"authors' code: skipped; set {CHECKOUT} to a checkout of github.com/lorenmt/reco")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
