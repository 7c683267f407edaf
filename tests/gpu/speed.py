"""Lines about time: steps against the bare network's, the loader, the evaluation."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from bench.arrays import UInt8
from bench.machine import usable_cores
from bench.seeds import rng
from tests.gpu.context import Context, open_subject, release
from tests.gpu.report import MEANINGLESS, NO_CHECKOUT, at_least, at_most

if TYPE_CHECKING:
    from tests.benchmarks.bench_loop import Files
    from tests.benchmarks.subjects import Step, Subject

PHOTOS, LARGE = "VOC's size, JPEG", "Cityscapes' size, PNG"
RATES = {PHOTOS: 400.0, LARGE: 60.0}  # images per second that one GPU is to be given
EVALUATED_BYTES = 3.5e9  # of four images of 1024×2048 with 19 classes


def _with(step: Step, deterministic: bool) -> Step:
    """Return a step under, or without, deterministic algorithms."""

    def taken() -> None:
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        try:
            step()
        finally:
            torch.use_deterministic_algorithms(True, warn_only=warn_only)

    return taken


def steps(context: Context) -> None:
    """A step of each method takes at most a quarter more than its networks' passes; and what determinism costs."""
    from tests.benchmarks.subjects import take_turns

    cells, request = context.cells("times", context.sizes.paper)
    for planned in cells:
        subject = open_subject(planned, request)
        bare, _, _ = subject.make_bare()
        # Resizing in the bare step is torch's own, which has no deterministic backward pass: it runs without.
        versions = {"on": _with(subject.loop, True), "off": _with(subject.loop, False), "bare": _with(bare, False)}
        times = take_turns(versions, context.sizes.rounds, subject.device)
        note = context.report.note
        note(f"{subject.name}, a step", times.median("on"), "s")
        note(f"{subject.name}, deterministic over not", times.ratio("on", "off"), "×")
        note(
            f"{subject.name}, not deterministic over bare", times.ratio("off", "bare"), "×", at_most(1.25, MEANINGLESS)
        )
        note(f"{subject.name}, deterministic over bare", times.ratio("on", "bare"), "×")
        del subject, bare, versions
        release()
    _against_the_authors(context)


def _against_the_authors(context: Context) -> None:
    """Time ReCo's loss beside the authors', where their checkout is at hand."""
    from tests.benchmarks import authors, bench_reco

    name = "the authors' loss of ReCo over ours"
    if authors.CHECKOUT not in os.environ:
        context.report.skip(name, NO_CHECKOUT)
        return
    from tests.benchmarks.subjects import take_turns

    made = bench_reco.make_inputs()
    representation = made.representation.detach().cuda().requires_grad_()
    inputs = bench_reco.Inputs(representation, *(tensor.cuda() for tensor in made[1:]))

    def passes(version: str) -> None:
        torch.autograd.grad(bench_reco.VERSIONS[version](inputs), inputs.representation)

    versions: dict[str, Step] = {version: lambda v=version: passes(v) for version in ("ours", "authors")}  # type: ignore[misc]
    times = take_turns(versions, context.sizes.rounds, torch.device("cuda"))
    context.report.note("ReCo's loss", times.median("ours"), "s")
    context.report.note(name, times.ratio("authors", "ours"), "×", at_least(5.0, MEANINGLESS))


def _large_image(seed: int, size: tuple[int, int]) -> UInt8:
    """Return an image (H, W, 3) with about the detail of a photograph."""
    coarse = rng(seed, "large").integers(0, 256, (16, 32, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)).astype(np.int64)
    noisy: UInt8 = (smooth + rng(seed, "noise").integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)
    return noisy


def _photos(context: Context) -> Files:
    from tests.benchmarks.bench_augment import make_pairs
    from tests.benchmarks.bench_loop import Files

    pairs = make_pairs(context.folder / "photos", context.sizes.photos)
    return Files({image.stem: (image, mask) for image, mask in pairs})


def _large(context: Context) -> Files:
    from tests.benchmarks.bench_loop import Files

    folder, found = context.folder / "large", {}
    folder.mkdir()
    for i in range(context.sizes.evaluated):
        paths = folder / f"{i}.png", folder / f"{i}-mask.png"
        image = _large_image(i, context.sizes.image)
        Image.fromarray(image).save(paths[0], compress_level=1)
        Image.fromarray(image[..., 0] // 16).save(paths[1])
        found[str(i)] = paths
    return Files(found)


def _rate(subject: Subject, files: Files, count: int) -> float:
    """Return images per second of the loader's own work, decoding each time; the first step warms up."""
    from bench.spec.resources import Resources
    from bench.train.build import build_loader
    from datasets.split import Split

    ids = tuple(files.files)
    half = len(ids) // 2
    loader = build_loader(subject.stepper, files, Split(ids[:half], ids[half:]), Resources(device="cuda"))
    steps_of_batches: Iterator[Iterator[object]] = loader.steps(0)
    begin = 0.0
    for _ in range(count + 1):
        for _batch in next(steps_of_batches):
            pass
        if not begin:
            torch.cuda.synchronize()
            begin = time.perf_counter()
    torch.cuda.synchronize()
    return count * loader.images_per_step / (time.perf_counter() - begin)


def loader(context: Context) -> None:
    """The loader makes as many images per second as one GPU is to be given."""
    cells, request = context.cells("loader", context.sizes.paper, ["classmix"])
    subject = open_subject(cells[0], request)
    context.report.note("cores", usable_cores())
    for (name, aim), files, count in zip(
        RATES.items(), (_photos(context), _large(context)), context.sizes.loaded, strict=True
    ):
        context.report.note(name, _rate(subject, files, count), "images/s", at_least(aim, MEANINGLESS))


def evaluation(context: Context) -> None:
    """An evaluation of large images with 19 classes: images per second, and the allocator's peak."""
    from bench.spec.sections import Evaluation
    from bench.train.evaluate import evaluate

    cells, request = context.cells("evaluation", context.sizes.paper, ["supervised"])
    subject = open_subject(cells[0], request)
    predictor, classes = subject.stepper.method.predictor, 21
    images = [_large_image(i, context.sizes.image) for i in range(context.sizes.evaluated)]
    samples = [(image, image[..., 0] // 16) for image in images]
    how = Evaluation(batch_size=context.sizes.evaluation_batch)
    numerics = cells[0].cell.numerics
    evaluate(predictor, samples[: how.batch_size], classes, how, subject.device, numerics)
    release()
    before, begin = torch.cuda.memory_allocated(), time.perf_counter()
    score = evaluate(predictor, samples, classes, how, subject.device, numerics)
    rate = len(samples) / (time.perf_counter() - begin)
    size = "×".join(map(str, context.sizes.image))
    context.report.note(f"{size}, {how.batch_size} at a time", rate, "images/s", at_least(2.0, MEANINGLESS))
    peak = torch.cuda.max_memory_allocated() - before
    context.report.note("peak beside the weights", peak / 1e9, "GB", at_most(EVALUATED_BYTES / 1e9))
    context.report.note("pixel accuracy", score.pixel_accuracy, "%")
