"""The input pipelines that ``bench_augment`` measures: ours, torchvision v2 on PIL images, and the ReCo authors'."""

from __future__ import annotations

import importlib
import random
import sys
import time
from collections.abc import Iterator
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
from datasets.augmentation.reco import Augmentation, AugmentationConfig
from datasets.layout.decode import decode_rgb, load_index_mask

SCALE = (0.5, 1.5)
Pair = tuple[Path, Path]  # an image and its mask
Maps = tuple[Tensor, Tensor]  # pseudo-label (B, h, w) int64 and confidence (B, h, w)


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
            images = [decode_rgb(image) for image, _ in pairs for _ in range(2)]
            masks = [np.array(load_index_mask(mask), dtype=np.uint8) for _, mask in pairs]
        with clock.part("labelled: scale, crop"):
            views = [self.augment.labelled_view(images[2 * i], masks[i], rng(step, "view", i)) for i in slots]
            image, mask = (torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True))
        with clock.part("labelled: jitter, blur, flip"):
            self.augment.finish(image.permute(0, 3, 1, 2), mask, [rng(step, "finish", i) for i in slots])
        with clock.part("weak: crop"):
            crops = np.stack([self.augment.weak_view(images[2 * i + 1], rng(step, "weak", i)) for i in slots])
            weak = self.augment.to_float(torch.from_numpy(crops).permute(0, 3, 1, 2))
        with clock.part("strong: scale, crop"):
            strong = self.augment.strong([rng(step, "strong", i) for i in slots], "cpu")
            resampled = strong.geometric(weak, *zip(maps, (255, 0.0), strict=True))
        with clock.part("strong: jitter, blur, flip"):
            strong.photometric(*resampled)


class TorchvisionOnPIL:
    """The same recipe with torchvision v2 on PIL images."""

    reads_all_masks = False

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

    def weak(self, image: Image.Image, mask: None) -> Tensor:
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

    reads_all_masks = True  # their data set reads and crops the masks of unlabelled images too

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
        """Return the weak view of an unlabelled image."""
        view: Tensor = self.code.transform(image, mask, None, self.crop, (1.0, 1.0), False)[0]
        return view

    def strong(self, weak: Tensor, label: Tensor, confidence: Tensor) -> None:
        """Make the strong views of a batch, in their two calls."""
        middle = self.code.batch_transform(weak, label, confidence, self.crop, SCALE, False)
        self.code.batch_transform(*middle, self.crop, (1.0, 1.0), True)


class Rival:
    """Runs another pipeline on a batch, one image after the other."""

    def __init__(self, pipeline: TorchvisionOnPIL | Authors) -> None:
        self.pipeline: Any = pipeline

    def __call__(self, pairs: list[Pair], maps: Maps, step: int, clock: Clock) -> None:
        """Make one batch of labelled and unlabelled images."""
        random.seed(step)
        torch.manual_seed(step)
        with clock.part("decode"):
            labelled = [(load(image), load(mask)) for image, mask in pairs]
            unlabelled = [(load(image), load(mask) if self.pipeline.reads_all_masks else None) for image, mask in pairs]
        with clock.part("labelled"):
            for image, mask in labelled:
                self.pipeline.labelled(image, mask)
        with clock.part("weak"):
            weak = torch.stack([self.pipeline.weak(image, mask) for image, mask in unlabelled])
        with clock.part("strong"):
            self.pipeline.strong(weak, *maps)
