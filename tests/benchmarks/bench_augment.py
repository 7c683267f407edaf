"""Input pipeline: images per second and core, against torchvision v2 on PIL images and against the ReCo authors' code.

    python -m tests.benchmarks.bench_augment [--data VOC_FOLDER] [--crop 321] [--json]

One unit of work is a labelled and an unlabelled image: decode both, scale, crop, jitter, blur, flip, to tensor. The
unlabelled one gets its weak view as a tensor, then, with a pseudo-label and a confidence map, its strong view in two
halves with tensors in between, where a method mixes images. All pipelines see the same files on one thread; times are
CPU times of the process, the median over rounds in which the pipelines take turns.

``BENCH_RECO_CHECKOUT`` names a checkout of github.com/lorenmt/reco, which is imported, not copied; without it that row is
left out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from bench.seeds import rng
from datasets.transforms import Augmentation, AugmentationConfig
from tests.benchmarks.figures import Figure, note

CAMVID = Path(__file__).parents[3] / "shared" / "camvid"  # beside the checkout, where it is at hand
SCALE = (0.5, 1.5)
AIMS = {"torchvision": 1.0, "authors": 3.0}
Pair = tuple[Path, Path]  # an image and its mask
Maps = tuple[Tensor, Tensor]  # pseudo-label (B, h, w) int64 and confidence (B, h, w)


def find_pairs(root: Path, count: int) -> list[Pair]:
    """Return the first images of a VOC folder with their masks."""
    masks = sorted((root / "SegmentationClass").glob("*.png"))[:count]
    return [(root / "JPEGImages" / f"{mask.stem}.jpg", mask) for mask in masks]


def make_pairs(root: Path, count: int) -> list[Pair]:
    """Write JPEGs of VOC's usual size, with about the detail of photographs, and masks."""
    (root / "JPEGImages").mkdir(parents=True)
    (root / "SegmentationClass").mkdir()
    for i in range(count):
        coarse = rng(i, "bench").integers(0, 256, (24, 32, 3)).astype(np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)).astype(np.int64)
        noisy = (smooth + rng(i, "noise").integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(root / "JPEGImages" / f"{i:03d}.jpg", quality=90)
        Image.fromarray(smooth[..., 0].astype(np.uint8) // 16).save(root / "SegmentationClass" / f"{i:03d}.png")
    return find_pairs(root, count)


def load(path: Path) -> Image.Image:
    """Decode an image; a mask's pixels are its indices."""
    with Image.open(path) as file:
        file.load()
        return file if file.mode == "RGB" else Image.fromarray(np.asarray(file))


class Clock:
    """Adds up the CPU time of named parts."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside under `name`."""
        begin = time.process_time()
        yield
        self.parts[name] = self.parts.get(name, 0.0) + time.process_time() - begin


class Ours:
    """This project's pipeline, as the loader runs it."""

    def __init__(self, crop: int) -> None:
        self.augment = Augmentation(AugmentationConfig(crop_size=crop, scale=SCALE))

    def __call__(self, pairs: list[Pair], maps: Maps, step: int, clock: Clock) -> None:
        """Make one batch of labelled and unlabelled images."""
        slots = range(len(pairs))
        with clock.part("decode"):
            images = [np.asarray(load(image)) for image, _ in pairs for _ in range(2)]
            masks = [np.asarray(load(mask)) for _, mask in pairs]
        with clock.part("labelled: scale, crop"):
            views = [self.augment.labelled_view(images[2 * i], masks[i], rng(step, "view", i)) for i in slots]
            image, mask = (torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True))
        with clock.part("labelled: jitter, blur, flip"):
            self.augment.finish(image.permute(0, 3, 1, 2), mask, [rng(step, "finish", i) for i in slots])
        with clock.part("weak: crop"):
            crops = np.stack([self.augment.weak_view(images[2 * i + 1], rng(step, "weak", i))[0] for i in slots])
            weak = self.augment.to_float(torch.from_numpy(crops).permute(0, 3, 1, 2))
        with clock.part("strong: scale, crop"):
            strong = self.augment.strong([rng(step, "strong", i) for i in slots], "cpu")
            resampled = strong.geometric(weak, *maps)
        with clock.part("strong: jitter, blur, flip"):
            strong.photometric(*resampled)


class TorchvisionOnPIL:
    """The same recipe with torchvision v2 on PIL images."""

    def __init__(self, crop: int) -> None:
        self.crop = crop
        self.jitter = v2.RandomApply([v2.ColorJitter(0.25, 0.25, 0.25, 0.25)], p=0.8)
        self.blur = v2.RandomApply([v2.GaussianBlur(9, (0.15, 1.15))], p=0.5)

    def geometric(self, image: Image.Image, scale: tuple[float, float], *maps: tuple[Image.Image, int]) -> list[Any]:
        """Random scale, pad and crop of an image and of (map, border) pairs."""
        factor = random.uniform(*scale)
        size = [int(image.height * factor), int(image.width * factor)]
        pad = [0, 0, max(self.crop - size[1], 0), max(self.crop - size[0], 0)]
        nearest = v2.InterpolationMode.NEAREST
        views = [TF.pad(TF.resize(image, size) if factor != 1 else image, pad, padding_mode="reflect")]
        views += [TF.pad(TF.resize(m, size, interpolation=nearest), pad, fill=fill) for m, fill in maps]
        top, left = (random.randint(0, n - self.crop) for n in (views[0].height, views[0].width))
        return [TF.crop(view, top, left, self.crop, self.crop) for view in views]

    def photometric(self, image: Image.Image, *maps: Image.Image) -> list[Tensor]:
        """Jitter, blur and flip of an image, flip of its maps; to tensors."""
        views = [self.blur(self.jitter(image)), *maps]
        if random.random() < 0.5:
            views = [TF.hflip(view) for view in views]
        return [TF.to_dtype(TF.pil_to_tensor(views[0]), torch.float32, scale=True), *map(TF.pil_to_tensor, views[1:])]

    def labelled(self, image: Image.Image, mask: Image.Image) -> Any:
        """Return the tensors of a labelled image."""
        return self.photometric(*self.geometric(image, SCALE, (mask, 255)))

    def weak(self, image: Image.Image, mask: Image.Image) -> Tensor:
        """Return the weak view of an unlabelled image."""
        view: Tensor = TF.to_dtype(TF.pil_to_tensor(self.geometric(image, (1.0, 1.0))[0]), torch.float32, scale=True)
        return view

    def strong(self, weak: Tensor, label: Tensor, confidence: Tensor) -> None:
        """Make the strong views of a batch; in the middle everything is a tensor, for the mixing."""
        for image, *maps in zip(weak, label.to(torch.uint8), confidence, strict=True):
            pil = [TF.to_pil_image(x) for x in (image, *maps)]
            middle = [TF.pil_to_tensor(x) for x in self.geometric(pil[0], SCALE, (pil[1], 255), (pil[2], 0))]
            self.photometric(*(TF.to_pil_image(x) for x in middle))


class Authors:
    """The authors' own functions, imported from their checkout."""

    def __init__(self, crop: int, checkout: Path) -> None:
        sys.path.insert(0, str(checkout))
        self.code = importlib.import_module("build_data")
        jitter = v2.ColorJitter(0.25, 0.25, 0.25, 0.25)
        # In today's torchvision get_params returns numbers, no longer a transform, so that their line fails.
        self.code.transforms.ColorJitter = SimpleNamespace(get_params=lambda *ranges: jitter)
        self.crop = [crop, crop]

    def labelled(self, image: Image.Image, mask: Image.Image) -> Any:
        """Return the tensors of a labelled image."""
        return self.code.transform(image, mask, None, self.crop, SCALE, True)

    def weak(self, image: Image.Image, mask: Image.Image) -> Tensor:
        """Return the weak view of an unlabelled image; the authors crop its mask as well."""
        view: Tensor = self.code.transform(image, mask, None, self.crop, (1.0, 1.0), False)[0]
        return view

    def strong(self, weak: Tensor, label: Tensor, confidence: Tensor) -> None:
        """Make the strong views of a batch, in their two calls."""
        middle = self.code.batch_transform(weak, label, confidence, self.crop, SCALE, False)
        self.code.batch_transform(*middle, self.crop, (1.0, 1.0), True)


class Rival:
    """Runs another pipeline on a batch, one image after the other."""

    def __init__(self, pipeline: TorchvisionOnPIL | Authors) -> None:
        self.pipeline = pipeline

    def __call__(self, pairs: list[Pair], maps: Maps, step: int, clock: Clock) -> None:
        """Make one batch of labelled and unlabelled images."""
        random.seed(step)
        torch.manual_seed(step)
        with clock.part("decode"):
            images = [load(image) for image, _ in pairs for _ in range(2)]
            masks = [load(mask) for _, mask in pairs]
        with clock.part("labelled"):
            for image, mask in zip(images[::2], masks, strict=True):
                self.pipeline.labelled(image, mask)
        with clock.part("weak"):
            crops = [self.pipeline.weak(image, mask) for image, mask in zip(images[1::2], masks, strict=True)]
            weak = torch.stack(crops)
        with clock.part("strong"):
            self.pipeline.strong(weak, *maps)


def make_maps(batch: int, crop: int) -> Maps:
    """Return blocky pseudo-labels of 21 classes and smooth confidences."""
    coarse = torch.from_numpy(rng(0, "maps").random((2, batch, 8, 8)).astype(np.float32))
    label = torch.nn.functional.interpolate(coarse[:1], size=(crop, crop))[0]
    confidence = torch.nn.functional.interpolate(coarse[1:], size=(crop, crop), mode="bilinear")[0]
    return (label * 21).long(), confidence


def measure(
    pairs: list[Pair], crop: int, batch: int, rounds: int, checkout: Path | None
) -> dict[str, dict[str, float]]:
    """Return, for each pipeline, milliseconds of CPU per image by part (median over rounds)."""
    pipelines: dict[str, Callable[..., None]] = {"ours": Ours(crop), "torchvision": Rival(TorchvisionOnPIL(crop))}
    if checkout is not None:
        pipelines["authors"] = Rival(Authors(crop, checkout))
    maps, samples = make_maps(batch, crop), {name: list[dict[str, float]]() for name in pipelines}
    for step in range(rounds + 1):
        files = [pairs[(step * batch + i) % len(pairs)] for i in range(batch)]
        for path in (path for pair in files for path in pair):
            path.read_bytes()  # so that nobody waits for the disk
        for name, pipeline in pipelines.items():
            clock = Clock()
            pipeline(files, maps, step, clock)
            if step:  # the first round warms up
                samples[name].append(clock.parts)
    return {
        name: {part: statistics.median(p[part] for p in parts) / (2 * batch) * 1e3 for part in parts[0]}
        for name, parts in samples.items()
    }


def summarise(times: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return, for each pipeline, images/s per core and our speed relative to it.

    `cached` is our speed once the loader has decoded every image and keeps it, against the other as it is, which
    decodes every time; `decoded` leaves decoding out of both.
    """
    whole = {name: sum(parts.values()) for name, parts in times.items()}
    bare = {name: whole[name] - parts["decode"] for name, parts in times.items()}
    return {
        name: {
            "images_per_s": 1e3 / whole[name],
            "ratio": whole[name] / whole["ours"],
            "ratio_cached": whole[name] / bare["ours"],
            "ratio_decoded": bare[name] / bare["ours"],
        }
        for name in times
    }


def show(times: dict[str, dict[str, float]], summary: dict[str, dict[str, float]], crop: int) -> None:
    """Print parts and ratios."""
    print(f"crop {crop}; CPU ms per image (half of them labelled), one thread")
    for name, parts in times.items():
        print(f"  {name:12}" + "  ".join(f"{part} {ms:.2f}" for part, ms in parts.items()))
    print(f"  {'pipeline':12} {'images/s':>9} {'ours is':>9} {'ours, cached':>13} {'both decoded':>13}   aim")
    for name, row in summary.items():
        verdicts = {key: "met" if row[key] >= AIMS.get(name, 0) else "MISSED" for key in ("ratio", "ratio_cached")}
        aim = f">= {AIMS[name]:g}x: {verdicts['ratio']}, cached {verdicts['ratio_cached']}" if name in AIMS else ""
        ratios = f"{row['ratio']:8.2f}x {row['ratio_cached']:12.2f}x {row['ratio_decoded']:12.2f}x"
        print(f"  {name:12} {row['images_per_s']:9.0f} {ratios}   {aim}")


def hand_over(
    times: dict[str, dict[str, float]], summary: dict[str, dict[str, float]], crop: int, what_files: str
) -> None:
    """Give `make bench` the ratios that have an aim."""
    parts = times["ours"]
    share = parts["decode"] / sum(parts.values())
    reason = (
        f"decoding, the same decoder on both sides, is {share:.0%} of ours; from decoded images it is {{:.1f}} times"
    )
    names = {"torchvision": "torchvision v2 on PIL images", "authors": "the authors' PIL transform"}
    for name in names.keys() & summary.keys():
        row, what = summary[name], f"images/s per core, crop {crop}, {what_files}"
        why = reason.format(row["ratio_decoded"])
        note(Figure(f"{what}, decoded each time", names[name], row["ratio"], "×", ">=", AIMS[name], why, times))
        note(Figure(f"{what}, from the cache", names[name], row["ratio_cached"], "×", ">=", AIMS[name], why))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=CAMVID, help="a folder in VOC layout")
    parser.add_argument("--crop", type=int, nargs="+", default=[161, 321])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    checkout = os.environ.get("BENCH_RECO_CHECKOUT")
    with tempfile.TemporaryDirectory() as folder:
        count = options.batch * options.rounds
        data = options.data if options.data.is_dir() else None
        pairs = find_pairs(data, count) if data else make_pairs(Path(folder) / "made", min(count, 40))
        results = {}
        for crop in options.crop:
            times = measure(pairs, crop, options.batch, options.rounds, Path(checkout) if checkout else None)
            results[crop] = {"parts_ms": times, "summary": summarise(times)}
            hand_over(times, results[crop]["summary"], crop, data.name if data else "made JPEGs")
            if not options.json:
                show(times, results[crop]["summary"], crop)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
