"""The loader's pace: images decoded and cropped per second, by one thread and by one per core.

``python -m tests.benchmarks.bench_loader [--data VOC_FOLDER] [--rounds N]``.

*VOC*: JPEGs of about 500x375, 10 + 10 a batch, crop 321, labelled ones scaled by 0.5 to 1.5. *Cityscapes*: PNGs of
2048x1024, 2 + 2 a batch, crop 512, unscaled; four photographs are put together to one image, enlarged, with the noise of a
sensor. Nothing is cached, and the GPU's half of the augmentation is left out. The aims are 400 and 60 images/s beside one
GPU with 8 cores, of which the loader has 7: the rate of one thread, times 7, is held against them. Whether threads add up is
measured as far as this machine has cores, against hashing, which never needs Python's lock: a machine whose cores are shared
slows both.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.machine import keep_freed_memory, usable_cores
from bench.seeds import rng
from bench.spec.resources import Resources
from bench.spec.sections import Batch, Schedule
from bench.train.loader import Loader
from datasets.augmentation.reco import Augmentation, AugmentationConfig
from tests.benchmarks.bench_augment import make_pairs
from tests.benchmarks.bench_loop import Files
from tests.benchmarks.figures import Figure, note
from tests.benchmarks.pipelines import Pair

VOC = Path(__file__).parents[3] / "shared" / "voc-animals"  # beside the checkout, where it is at hand
THREADS = 7  # of 8 cores, beside a GPU
PARTS = ((0, 0), (1024, 0), (0, 512), (1024, 512))


class HostOnly(Augmentation):
    """The host's half of the augmentation."""

    def finish(self, image: Tensor, label: Tensor, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """Return what came."""
        return image, label

    def strong(self, rngs: Sequence[np.random.Generator], device: torch.device | str) -> Any:
        """Return nothing."""


def voc_pairs(root: Path, count: int) -> list[Pair]:
    """Return the first images of a VOC folder with their masks."""
    masks = sorted((root / "SegmentationClassAug").glob("*.png"))[:count]
    return [(root / "JPEGImages" / f"{mask.stem}.jpg", mask) for mask in masks]


def make_scenes(folder: Path, pairs: list[Pair], count: int) -> list[Pair]:
    """Write PNGs of 2048x1024 made of four enlarged photographs each, and their masks."""
    made = []
    for i in range(count):
        image, mask = Image.new("RGB", (2048, 1024)), Image.new("L", (2048, 1024))
        for part, (photo, label) in zip(PARTS, itertools.islice(itertools.cycle(pairs), 4 * i, 4 * i + 4), strict=True):
            image.paste(Image.open(photo).convert("RGB").resize((1024, 512), Image.Resampling.BICUBIC), part)
            classes = Image.fromarray(np.array(Image.open(label)))
            mask.paste(classes.resize((1024, 512), Image.Resampling.NEAREST), part)
        noisy = np.asarray(image) + rng(i, "bench").normal(0, 1.5, (1024, 2048, 3)).round()
        made.append((folder / f"{i}.png", folder / f"{i}_mask.png"))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(made[-1][0])
        mask.save(made[-1][1])
    return made


def pace(pairs: list[Pair], batch: int, config: AugmentationConfig, threads: int, steps: int) -> float:
    """Return the images that a loader makes per second on some threads."""
    files = {str(i): pair for i, pair in enumerate(pairs)}
    half = len(pairs) // 2
    loader = Loader(
        Files(files),
        tuple(files)[:half],
        tuple(files)[half:],
        HostOnly(config),
        Schedule(iterations=steps, batch=Batch(labelled=batch, unlabelled=batch)),
        0,
        torch.device("cpu"),
        Resources(loader_threads=threads),
    )
    begin = time.perf_counter()
    for batches in loader.steps(0):
        for _ in batches:
            pass
    return steps * loader.images_per_step / (time.perf_counter() - begin)


def hashing(threads: int) -> float:
    """Return the blocks that are hashed per second on some threads."""
    block, count = bytes(1 << 20), 400
    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: hashlib.sha256(block).digest(), range(count)))
    return count / (time.perf_counter() - begin)


def measure(
    name: str, pairs: list[Pair], batch: int, config: AugmentationConfig, steps: int, aim: float, rounds: int
) -> None:
    """Print and note the pace of one thread, and how far threads add up."""
    cores = usable_cores()
    pace(pairs, batch, config, cores, steps)
    works = [lambda threads: pace(pairs, batch, config, threads, steps), hashing]
    rounds_of = [[work(threads) for threads in (1, cores) for work in works] for _ in range(rounds)]
    one, _, many, _ = (statistics.median(rates) for rates in zip(*rounds_of, strict=True))
    gains = [(many / one, hashed_many / hashed) for one, hashed, many, hashed_many in rounds_of]
    scaling = statistics.median(ours / free for ours, free in gains)
    ours, free = (statistics.median(gain) for gain in zip(*gains, strict=True))
    what = f"loader, {name}"
    print(
        f"{what}: {one:.1f} images/s on one thread, {many:.1f} on {cores}: "
        f"{ours:.2f} times as many, hashing {free:.2f} times, round by round {scaling:.2f}"
    )
    parts = {"images_per_s": {"1": one, str(cores): many}}
    reason = "decoding takes longer"
    against = f"{aim:.0f} images/s"
    note(Figure(f"{what}: one thread's pace × {THREADS}", against, THREADS * one / aim, "×", ">=", 1.0, reason, parts))
    reason = "Python's lock is held for a part of the work"
    against = "what threads that need no lock gain"
    note(Figure(f"{what}: gain of {cores} threads", against, scaling, "×", ">=", 0.8, reason, parts))


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=VOC, help="a folder in VOC layout, masks in SegmentationClassAug")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        at_hand = options.data.is_dir()
        pairs = voc_pairs(options.data, 400) if at_hand else make_pairs(folder / "made", 40)
        photos = f"JPEGs of {options.data.name}" if at_hand else "made JPEGs"
        voc = AugmentationConfig(crop_size=(321, 321), scale=(0.5, 1.5))
        measure(f"{photos}, crop 321, 10+10", pairs, 10, voc, 40, 400, options.rounds)
        scenes = make_scenes(folder, pairs, 24)
        cityscapes = AugmentationConfig(crop_size=(512, 512), scale=(1.0, 1.0))
        measure("PNGs of 2048x1024, crop 512, 2+2", scenes, 2, cityscapes, 8, 60, options.rounds)


if __name__ == "__main__":
    main()
