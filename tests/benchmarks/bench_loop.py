"""What surrounds the steps: waiting for data, evaluations, checkpoints.

``python -m tests.benchmarks.bench_loop [--data VOC_FOLDER] [--rounds N]``.

*Data*: the share of the time that the loop waits for data, ResNet-18, crop 161, 8 + 8 images, on CamVid where it is at
hand (``--data``), decoding everything (no cache). *Evaluation*: an evaluation against the forward passes alone, on the
same images and batches, ResNet-50. *Checkpoint*: the time that writing one adds to the steps meanwhile, against as many
right after, of the largest state (student, teacher, momentum; ResNet-50), over the default interval. Medians over rounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.arrays import UInt8
from bench.machine import usable_cores
from bench.spec.resources import Resources
from bench.spec.sections import Evaluation
from bench.train.checkpoint import Writer
from bench.train.evaluate import evaluate
from bench.train.reader import Reader
from datasets.layout.decode import decode_rgb, load_index_mask
from tests.benchmarks.bench_augment import CAMVID, find_pairs
from tests.benchmarks.blobs import CLASSES
from tests.benchmarks.figures import Figure, note
from tests.benchmarks.pipelines import Pair
from tests.benchmarks.subjects import Subject, plan_cells, seconds, take_turns

EVALUATED, EVALUATION_BATCH = 16, 4


class Files(Reader):
    """Decodes files of a folder in place of a dataset's images, each time anew."""

    def __init__(self, files: dict[str, Pair]) -> None:
        self.files, self.threads = files, 2

    def image(self, image_id: str) -> UInt8:
        """Return the image (H, W, 3)."""
        return decode_rgb(self.files[image_id][0])

    def mask(self, image_id: str) -> UInt8:
        """Return the mask (H, W)."""
        return np.array(load_index_mask(self.files[image_id][1]), dtype=np.uint8)


def wait(data: Path | None, rounds: int) -> None:
    """Print and note the share of time that the loop waits for data."""
    with tempfile.TemporaryDirectory() as name:
        cells, request = plan_cells(Path(name), ["classmix"], "resnet18", 161, 8, "fp32")
        subject = Subject(cells[0], request)
        loader, where = subject.loader, "images made in memory"
        if data is not None:
            pairs = find_pairs(data, 60)
            where = f"JPEGs of {data.name}"
            ids = subject.reader.dataset.ids("train")
            loader.reader = Files({image_id: pairs[i % len(pairs)] for i, image_id in enumerate(ids)})
        for _ in range(2):
            subject.loop()
        begin, waited = time.perf_counter(), loader.waited
        for _ in range(4 * rounds):
            subject.loop()
        share = 100 * (loader.waited - waited) / (time.perf_counter() - begin)
    what = f"time the loop waits for data (ResNet-18, crop 161, 8+8, {where}, decoded each time)"
    print(f"{what}: {share:.2f} % of a step")
    note(Figure(what, "the step", share, "%", "<=", 5.0, "decoding takes longer than the step"))


def evaluation(rounds: int) -> None:
    """Print and note an evaluation against the forward passes alone."""
    with tempfile.TemporaryDirectory() as name:
        cells, request = plan_cells(Path(name), ["supervised"], "resnet50", 161, 4, "fp32")
        subject = Subject(cells[0], request)
        reader = subject.reader
        ids = list(itertools.islice(itertools.cycle(reader.dataset.ids("val")), EVALUATED))
        predictor, device = subject.stepper.method.predictor, subject.device
        protocol = Evaluation(batch_size=EVALUATION_BATCH)
        size = range(0, EVALUATED, EVALUATION_BATCH)
        images = [np.stack([reader.image(i) for i in ids[k : k + EVALUATION_BATCH]]) for k in size]
        ready = [
            (torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255).to(device, memory_format=torch.channels_last)
            for x in images
        ]

        @torch.inference_mode()
        def forward() -> None:
            predictor.eval()
            for image in ready:
                predictor(image)
            predictor.train()

        versions = {
            "forward": forward,
            "evaluation": lambda: evaluate(predictor, reader.pairs(ids), CLASSES, protocol, device),
        }
        times = take_turns(versions, rounds, device)
    ratio, found = times.ratio("evaluation", "forward"), times.medians()
    what = f"evaluation (ResNet-50, {EVALUATED} images of 240×320, {CLASSES} classes)"
    print(f"{what}: {found['evaluation']:.2f} s, forward alone {found['forward']:.2f} s: {ratio:.2f}")
    reason = "scores of all classes are resized to the mask before the arg max"
    note(Figure(what, "the forward passes", ratio, "×", "<=", 1.2, reason, found))


def checkpoint(rounds: int) -> None:
    """Print and note what a checkpoint adds to the steps around it, over the default interval."""
    with tempfile.TemporaryDirectory() as name:
        cells, request = plan_cells(Path(name), ["classmix"], "resnet50", 161, 4, "fp32")
        subject = Subject(cells[0], request)
        writer, resources, path = Writer(lambda: None), Resources(), Path(name) / "checkpoint.pt"
        plain, added, held = list[float](), list[float](), list[float]()
        for _ in range(2):
            subject.loop()
        for _ in range(rounds):
            begin, count = time.perf_counter(), 0
            writer.write(path, subject.stepper.state())
            held.append(time.perf_counter() - begin)
            while count < 3 or not all(f.done() for f in writer._open):
                subject.loop()
                count += 1
            taken = time.perf_counter() - begin
            after = [seconds(subject.loop, subject.device) for _ in range(count)]  # at once: the host's pace drifts
            added.append(taken - sum(after))
            plain += after
        writer.finish()
        size = path.stat().st_size / 1e6
        writer.close()
    interval = min(resources.checkpoint_every * statistics.median(plain), resources.checkpoint_seconds)
    share = 100 * max(statistics.median(added), 0.0) / interval
    what = f"checkpoint of {size:.0f} MB, at the default interval ({interval:.0f} s here)"
    print(
        f"{what}: the loop is held {statistics.median(held):.2f} s, it adds {statistics.median(added):.2f} s: {share:.2f} %"
    )
    note(Figure(what, "the steps around it", share, "%", "<=", 1.0, "the copy to host memory and the writing thread"))


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=CAMVID, help="a folder in VOC layout")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())
    wait(options.data if options.data.is_dir() else None, options.rounds)
    evaluation(options.rounds)
    checkpoint(options.rounds)


if __name__ == "__main__":
    main()
