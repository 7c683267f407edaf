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
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.seeds import rng
from tests.benchmarks.figures import Figure, note
from tests.benchmarks.pipelines import Authors, Clock, Maps, Ours, Pair, Rival, TorchvisionOnPIL

CAMVID = Path(__file__).parents[3] / "shared" / "camvid"  # beside the checkout, where it is at hand
AIMS = {"torchvision": 1.0, "authors": 3.0}


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


def show(times: dict[str, dict[str, float]], summary: dict[str, dict[str, float]], crop: int, what_files: str) -> None:
    """Print parts and ratios."""
    print(f"crop {crop}, {what_files}; CPU ms per image (half of them labelled), one thread")
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
    reason = f"decoding, by libjpeg-turbo on both sides, is {share:.0%} of ours; the rest is {{:.1f}} times as fast"
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
            figures = times, results[crop]["summary"], crop, data.name if data else "made JPEGs"
            hand_over(*figures)
            if not options.json:
                show(*figures)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
