"""FixMatch and UniMatch beside what a user would run instead: UniMatch's released scripts.

``BENCH_PARITY=DIR python -m tests.benchmarks.bench_unimatch [--rounds N] [PART …]``, where DIR holds a checkout `unimatch`
of github.com/LiheYoung/UniMatch. ResNet-50 with random weights, crop 161, 2 + 2 images and 2 to mix with, 21 classes, all
cores.

*A*: `fixmatch.py` and `unimatch.py` as released, as one process on the host (``tests.parity.stand_ins``). *B*: our methods
on their network. *C*: our methods and network, boxes mixed within the batch (`partner: roll`), which needs fewer passes.
`step`: batches in memory, strong views included. `loop`: steps with their loaders, JPEGs of 375×500 decoded each time; of
A the loaders as released (a process for each of three), and with a process per core for each. `loaders`: the same
batches without the steps, what a GPU waits for. `evaluation`: whole images. `memory`: the growth of the process's resident
memory in three steps. Sides of `loop`, `loaders` and `memory` run in processes of their own. All take turns; figures are
medians over the rounds of the two times of a round.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from bench.machine import usable_cores
from bench.spec.sections import Evaluation
from bench.train.evaluate import evaluate
from tests.benchmarks.bench_loop import Files
from tests.benchmarks.blobs import CLASSES
from tests.benchmarks.figures import Figure, note
from tests.benchmarks.subjects import Step, Times, take_turns
from tests.benchmarks.unimatch_loops import LOOPS, measure
from tests.benchmarks.unimatch_loops import seconds as loop_seconds
from tests.benchmarks.unimatch_sides import (
    CROP,
    IMAGES,
    TheirSteps,
    make_files,
    our_step,
    subject,
    their_training,
)
from tests.parity.checkouts import checkout, imported, missing
from tests.parity.stand_ins import Over, one_process_on_the_host
from tests.parity.unimatch_code import build_network

METHODS = ("fixmatch", "unimatch")
SETTING = f"ResNet-50, crop {CROP}, {IMAGES}+{IMAGES}+{IMAGES}, fp32"
EVALUATED, MEASURED = 8, 3


def compare(what: str, times: Times, aims: dict[tuple[str, str], float]) -> None:
    """Print medians, and each side's pace over that of A's kinds, with the quartiles; note those with an aim."""
    load = os.getloadavg()[0]
    said = ", ".join(f"{name} {value:.2f} s" for name, value in times.medians().items())
    print(f"{what}: {said} (load {load:.1f})", flush=True)
    for (side, reference), aim in aims.items():
        ratios = times.ratios(reference, side)
        low, high = (ratios[round(share * (len(ratios) - 1))] for share in (0.25, 0.75))
        value = times.ratio(reference, side)
        print(f"  {side} against {reference}: {value:.2f}× ({low:.2f} to {high:.2f})", flush=True)
        parts = {**times.medians(), "ratios": ratios, "load": load}
        reason = f"quartiles {low:.2f} to {high:.2f}, load {load:.1f}"
        note(Figure(f"{what}, {side}", f"UniMatch's code, {reference}", value, "×", ">=", aim, reason, parts))


def step(method: str, rounds: int, folder: Path) -> None:
    """Compare a step on a batch in memory."""
    sides: dict[str, Step] = {"A": TheirSteps(method)}
    sides |= {"B": our_step("B", method, folder / "b"), "C": our_step("C", method, folder / "c")}
    times = take_turns(sides, rounds, torch.device("cpu"))
    compare(f"{method}: step ({SETTING})", times, {("B", "A"): 1.0, ("C", "A"): 1.3})


def loop(method: str, rounds: int, folder: Path, alone: bool = False) -> None:
    """Compare steps with the loaders, or with `alone` the loaders without the steps."""
    times = Times()
    for number in range(rounds if alone else max(rounds // 4, 2)):  # a minute a side
        for side in LOOPS:
            times.add(side, number, loop_seconds(side, method, alone))
    released, cores, *ours = LOOPS
    compare(
        f"{method}: {'loaders' if alone else 'steps with loaders'} ({SETTING})",
        times,
        {(side, released): 2.0 for side in ours} | {(side, cores): 1.0 for side in ours},
    )


def scored(predictor: nn.Module, files: Files) -> None:
    """Evaluate a predictor of ours, image by image as they do."""
    evaluate(predictor, files.pairs(list(files.files)), CLASSES, Evaluation(batch_size=1), torch.device("cpu"))


def evaluation(rounds: int, folder: Path) -> None:
    """Compare an evaluation of whole images."""
    pairs = make_files(folder)[:EVALUATED]
    files = Files({str(i): pair for i, pair in enumerate(pairs)})
    predictors = {side: subject(side, "fixmatch", folder / side).stepper.method.predictor for side in ("B", "C")}
    theirs = build_network(CLASSES)
    path = checkout("unimatch")
    assert path is not None
    with one_process_on_the_host(), imported("unimatch", "supervised", "dataset.semi") as (module, data):
        dataset = object.__new__(data.SemiDataset)
        dataset.__dict__.update(root="/", mode="val", ids=[f"{image} {mask}" for image, mask in pairs])
        loader = DataLoader(dataset, batch_size=1, num_workers=1)
        sides: dict[str, Step] = {"A": lambda: module.evaluate(theirs, loader, "original", {"nclass": CLASSES})}
        for side, predictor in predictors.items():
            sides[side] = functools.partial(scored, predictor, files)
        times = take_turns(sides, rounds, torch.device("cpu"))
    what = f"evaluation (ResNet-50, {EVALUATED} images of 375×500, {CLASSES} classes)"
    compare(what, times, {("B", "A"): 1.0, ("C", "A"): 1.3})


def resident(peak: bool) -> int:
    """Return the bytes of this process in memory, now or at most since the last reset."""
    name = "VmHWM" if peak else "VmRSS"
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name))
    return 1024 * int(line.split()[1])


def grown(side: str, method: str, folder: Path) -> int:
    """Return by how many bytes this process grows at most in some steps."""
    if side != "A":
        take, before = our_step("B" if side == "B" else "C", method, folder), resident(peak=False)
        for _ in range(MEASURED):
            take()
        return resident(peak=True) - before
    seen: list[int] = []

    def look() -> None:
        seen.append(resident(peak=len(seen) > 0))
        if len(seen) > MEASURED:
            raise Over

    their_training(method, look)
    return seen[-1] - seen[0]


def memory(method: str) -> None:
    """Compare the growth of fresh processes in their first steps."""
    found = {}
    for side in ("A", "B", "C"):
        command = [sys.executable, "-m", "tests.benchmarks.bench_unimatch", "--grown", side, method]
        found[side] = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
    what = f"{method}: memory of a step ({SETTING})"
    print(f"{what}: " + ", ".join(f"{side} {value / 1e6:.0f} MB" for side, value in found.items()), flush=True)
    for side, aim in (("B", 1.0), ("C", 0.8)):
        print(f"  {side} against A: {found[side] / found['A']:.2f}×")
        note(Figure(f"{what}, {side}", "UniMatch's code, A", found[side] / found["A"], "×", "<=", aim, parts={**found}))


def main() -> None:
    """Print and note what the parts measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every: dict[str, Callable[[str, int, Path], None]] = {
        "memory": lambda method, rounds, folder: memory(method),
        "step": step,
        "loaders": functools.partial(loop, alone=True),
        "loop": loop,
    }
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(every)}, evaluation")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--grown", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--loop", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if checkout("unimatch") is None:
        print(missing("unimatch"))
        return
    torch.set_num_threads(usable_cores())
    with tempfile.TemporaryDirectory() as name:
        if options.grown:
            side, method = options.grown
            print(grown(side, method, Path(name)))
            return
        if options.loop:
            side, method = options.loop
            print(measure(side, method, options.alone, Path(name)))
            return
        print(f"{SETTING}, {CLASSES} classes; {usable_cores()} threads")
        wanted = options.parts or [*every, "evaluation"]
        for part in [part for part in every if part in wanted]:
            for method in METHODS:
                folder = Path(name, part, method)
                folder.mkdir(parents=True)
                every[part](method, options.rounds, folder)
        if "evaluation" in wanted:
            folder = Path(name, "evaluation")
            folder.mkdir()
            evaluation(options.rounds, folder)


if __name__ == "__main__":
    main()
