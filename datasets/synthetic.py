"""The embedded dataset: drawn scenes, made on first use, in VOC layout (with lossless PNG images)."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from PIL import Image
from pydantic import Field

from bench.config import Config
from bench.errors import BenchError
from bench.registry import register
from datasets._scenes import CLASSES, draw_scene
from datasets.base import DatasetConfig, Progress
from datasets.layout.checksums import CHECKSUMS, read_checksums, write_checksums
from datasets.layout.decode import MASK_SUFFIX
from datasets.layout.palette import voc_palette
from datasets.layout.voc_layout import Layout, VocLayout

_Count = Annotated[int, Field(ge=1, le=100_000)]


class Counts(Config):
    """Images per split.

    Attributes:
        train: of training.
        val: of validation.
        test: of the test.
    """

    train: _Count = 400
    val: _Count = 100
    test: _Count = 100


class SyntheticConfig(DatasetConfig):
    """Options of `synthetic`.

    Attributes:
        image_size: side of the square scenes, in pixels; what is drawn grows with it.
        counts: images per split.
    """

    image_size: Annotated[int, Field(ge=32, le=1024)] = 96
    counts: Counts = Counts()

    @property
    def folder(self) -> str:
        """Name of the folder of these options, beneath the dataset's root."""
        c = self.counts
        return f"v{Synthetic.version}-{self.image_size}px-{c.train}-{c.val}-{c.test}"


@register("dataset", "synthetic")
class Synthetic(VocLayout):
    """Drawn scenes, 10 classes: needs no download, made in seconds, the same pixels on every machine.

    Strong imbalance (a wall covers half of all pixels, rings about 1 %), two pairs of classes with the same shape and
    colours but different textures, occlusion, distractors, changing light, and void outlines. `root` is a cache: each
    combination of options has its own folder in it.
    """

    Config: ClassVar[type[DatasetConfig]] = SyntheticConfig
    needs_root: ClassVar[bool] = False
    version: ClassVar[int] = 1  # of the pixels; part of every cell's identity

    def __init__(self, config: SyntheticConfig, root: Path) -> None:
        super().__init__(config, root / config.folder)

    @property
    def few_labels_min_classes(self) -> int:
        """3, as for VOC: about 95 % of the scenes have as many."""
        return 3

    @property
    def made(self) -> Mapping[str, str]:
        """What was written down when the scenes were drawn."""
        return read_checksums(self.root)

    @classmethod
    def prepare(cls, config: DatasetConfig, root: Path, source: Path | None, progress: Progress | None = None) -> None:
        """Draw the scenes into a folder of `root`, unless they are there.

        They are drawn in a temporary folder, which is then renamed: the folder is complete or absent, and of two
        processes that draw at once, the slower one discards its copy.

        Raises:
            BenchError: if `root` can't be written.
        """
        assert isinstance(config, SyntheticConfig)
        final = root / config.folder
        if (final / CHECKSUMS).is_file():
            return
        if final.is_dir():  # drawn by a version that wrote no checksums
            with contextlib.suppress(OSError):
                _write_checksums(final)
            return
        partial = root / f".{config.folder}.{os.getpid()}.{uuid.uuid4().hex}"
        try:
            partial.mkdir(parents=True)
            _draw_all(config, partial, progress)
            _write_checksums(partial)
            _rename(partial, final)
        except OSError as error:
            raise BenchError(
                f"{root}: the synthetic dataset can't be made here ({error.strerror}); free the disk or set BENCH_DATA"
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _rename(partial: Path, final: Path) -> None:
    try:
        partial.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _write_checksums(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    write_checksums(folder, files)


def _draw_all(config: SyntheticConfig, folder: Path, progress: Progress | None) -> None:
    layout = Layout()
    for name in (layout.images, layout.masks, layout.lists):
        (folder / name).mkdir(parents=True)
    (folder / layout.classes).write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    palette = [channel for colour in voc_palette(256) for channel in colour]
    counts: dict[str, int] = config.counts.model_dump()
    done = 0
    for split, count in counts.items():
        ids = [f"{split}_{index:05d}" for index in range(count)]
        (folder / layout.lists / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")
        for index, image_id in enumerate(ids):
            image, label = draw_scene(split, index, config.image_size)
            Image.fromarray(image).save(folder / layout.images / f"{image_id}.png", compress_level=1)
            mask = Image.fromarray(label)
            mask.putpalette(palette)
            mask.save(folder / layout.masks / f"{image_id}{MASK_SUFFIX}")
            done += 1
            if progress is not None:
                progress(done, sum(counts.values()))
