"""Predicts image files: index masks, overlays and probabilities, one file each, in folders of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.arrays import UInt8
from bench.errors import BenchError
from bench.export.sources import Trained, fitted
from bench.files import write_atomically
from datasets.photographs import decode_rgb, find

MASKS, OVERLAYS, PROBABILITIES = "masks", "overlays", "probabilities"
OPACITY = 0.5  # of the classes' colours over an image


@dataclass(frozen=True)
class Asked:
    """What is written.

    Attributes:
        output: the folder.
        overlays: also the image with the classes' colours over it.
        probabilities: also (K, H, W) float16, as ``.npy``.
        own_size: masks as large as the image; else as large as it is predicted, which is what `evaluate` scores.
        force: replace files that are there.
    """

    output: Path
    overlays: bool = True
    probabilities: bool = False
    own_size: bool = True
    force: bool = False

    def files(self, name: str) -> dict[str, Path]:
        """Return the files of an image, by kind."""
        kinds = {
            MASKS: ".png",
            OVERLAYS: ".jpg" if self.overlays else "",
            PROBABILITIES: ".npy" if self.probabilities else "",
        }
        return {kind: self.output / kind / f"{name}{suffix}" for kind, suffix in kinds.items() if suffix}


def named(given: Sequence[Path]) -> dict[str, Path]:
    """Return all images of files and folders, by the name that their results get.

    Raises:
        BenchError: if there is nothing, or two have one name.
    """
    found: dict[str, Path] = {}
    for place in given:
        for name, path in find(place).items():
            if name in found and found[name].resolve() != path.resolve():
                raise BenchError(
                    f"{path} and {found[name]}: their masks would both be {name}.png; predict them one after the other"
                )
            found[name] = path
    return found


def predict_files(
    trained: Trained,
    images: Mapping[str, Path],
    asked: Asked,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Predict image files and return what was written, in the order of the images.

    Args:
        trained: the predictor.
        images: files by name, see :func:`named`.
        asked: what to write, and where.
        watch: called with the number of images that are done, and of all.

    Raises:
        BenchError: if a file is there already (before anything is written), or an image can't be read or doesn't fit.
    """
    names = list(images)
    files = {name: asked.files(name) for name in names}
    there = [path for paths in files.values() for path in paths.values() if path.exists()]
    if there and not asked.force:
        raise BenchError(f"{there[0]}: it is there already ({len(there)} of these files are); --force replaces them")
    waiting: dict[int, UInt8] = {}

    def prepared() -> Iterator[UInt8]:
        for place, name in enumerate(names):
            waiting[place] = decode_rgb(images[name])
            yield trained.preparation.prepared(waiting[place])

    for done, (place, mask) in enumerate(trained.predictor.masks(prepared()), 1):
        _write(trained, waiting.pop(place), mask, files[names[place]], asked)
        watch(done, len(names))
    return [path for paths in files.values() for path in paths.values()]


def _write(trained: Trained, image: UInt8, mask: UInt8, files: Mapping[str, Path], asked: Asked) -> None:
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    size = image.shape[:2] if asked.own_size else mask.shape
    shown = fitted(mask, size)
    _save(coloured(shown, trained.palette), files[MASKS])
    if OVERLAYS in files:
        seen = image if asked.own_size else trained.preparation.prepared(image)
        _save(Image.fromarray(overlay(seen, shown, trained.palette)), files[OVERLAYS])
    if PROBABILITIES in files:
        found = trained.predictor.probabilities(trained.preparation.prepared(image)).astype(np.float16)
        write_atomically(files[PROBABILITIES], lambda file: np.save(file, found), sync=False)


def _save(image: Image.Image, path: Path) -> None:
    kind = "PNG" if path.suffix == ".png" else "JPEG"
    write_atomically(path, lambda file: image.save(file, kind), sync=False)


def coloured(mask: UInt8, palette: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Return a mask (H, W) as class indices that are shown in their colours (mode P, as those of Pascal VOC)."""
    image = Image.fromarray(mask).convert("L")
    image.putpalette([channel for colour in palette for channel in colour])
    return image


def overlay(image: UInt8, mask: UInt8, palette: Sequence[tuple[int, int, int]]) -> UInt8:
    """Return an image (H, W, 3) with the colours of its mask's (H, W) classes half over it."""
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = palette
    mixed: UInt8 = np.rint((1 - OPACITY) * image + OPACITY * colours[mask]).astype(np.uint8)
    return mixed
