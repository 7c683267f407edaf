"""Base of the datasets that are prepared from official archives into VOC layout (`voc`, `cityscapes`, `sun_rgbd`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from bench.errors import BenchError
from bench.files import file_digest, write_if_changed
from datasets.base import CheckReport, DatasetConfig, Progress, SplitName
from datasets.layout.checksums import read_checksums, write_checksums
from datasets.layout.decode import load_index_mask, load_rgb
from datasets.layout.voc_layout import VocLayout
from datasets.official.archives import Sources, archives_of, verify_md5
from datasets.official.encode import map_labels, png, put_colours
from datasets.official.prepare import (
    Conversion,
    Pair,
    Preparation,
    Record,
    changed_files,
    is_whole,
    preparing,
    read_record,
    run_conversions,
    shortfalls,
    verify_sizes,
    write_record,
)

_ALLOW = "--set allow_incomplete=true"


class OfficialConfig(DatasetConfig):
    """Options of datasets prepared from official archives.

    Attributes:
        allow_incomplete: accept less than the published dataset (a part of it, for a trial): its images are used, `check`
            says what is missing, and the cells' ids differ from those of the whole dataset.
    """

    allow_incomplete: Annotated[bool, Field(json_schema_extra={"identity": "non-default"})] = False


class OfficialDataset(VocLayout):
    """A dataset in VOC layout with a record of how it was prepared.

    A folder prepared at full size serves every `size`, by resizing at read time; one prepared at a size serves this size
    only, faster. The pixels are the same: both ways are the same operation on the same decoded image, and what was
    resized is stored without loss.

    Attributes:
        version: of the prepared pixels; part of every cell's identity.
        published: number of images per split.
        archives: beginnings of the names of the official archives.
        checksums: their published MD5 sums, by file name.
        wanted: what to give with ``--from``, in words.
        label_map: class index per value in the official masks, void included; other values are errors.
        void_colour: in which void is drawn.
    """

    Config: ClassVar[type[DatasetConfig]] = OfficialConfig
    version: ClassVar[int] = 1
    published: ClassVar[Mapping[SplitName, int]]
    archives: ClassVar[tuple[str, ...]]
    checksums: ClassVar[Mapping[str, str]] = {}
    wanted: ClassVar[str]
    label_map: ClassVar[Mapping[int, int]]
    void_colour: ClassVar[tuple[int, int, int]] = (0, 0, 0)
    names_identify: ClassVar[bool] = True
    config: OfficialConfig

    def preparation(self, sources: Sources) -> Preparation:
        """Say which members become which images and masks.

        Raises:
            BenchError: if the sources can't be this dataset.
        """
        raise NotImplementedError

    @classmethod
    def prepare(cls, config: DatasetConfig, root: Path, source: Path | None, progress: Progress | None = None) -> None:
        """Make the dataset in `root` from the archives or trees in `source`, which is never written to.

        A preparation that was killed goes on where it was. A folder that is ready is left as it is.

        Raises:
            BenchError: if the sources are damaged, incomplete or not those of this dataset, or if `root` holds another
                preparation.
        """
        assert isinstance(config, OfficialConfig)
        dataset = cls(config, root)
        record = read_record(root)
        if record is not None:
            dataset._check_use(record)
            if record.ready and not record.shortfall and dataset._is_whole():
                return
        if source is None:
            raise BenchError(f"{root} isn't prepared yet: give --from DIR with {cls.wanted}")
        if source.resolve() == root.resolve():
            raise BenchError(f"--from {source}: is also where the dataset is to be; give another --data NAME=DIR")
        with preparing(root), Sources(source, cls.archives, root) as sources:
            dataset._prepare(sources, record, progress)

    def _is_whole(self) -> bool:
        return is_whole(self.root) and all(self.list_path(split).is_file() for split in self.published)

    def _prepare(self, sources: Sources, old: Record | None, progress: Progress | None) -> None:
        preparation = self.preparation(sources)
        lacking = shortfalls(preparation, self.published)
        if lacking and not self.config.allow_incomplete:
            raise BenchError(
                f"--from {sources.folder}: not the whole dataset: {'; '.join(lacking)}. Needed: {self.wanted}; "
                f"to use a part of it, {_ALLOW}"
            )
        splits = {s: [p for p in pairs if p.image and p.mask] for s, pairs in preparation.splits.items()}
        for split, pairs in splits.items():
            if not pairs:
                raise BenchError(f"--from {sources.folder}: no {split} image with a mask. Needed: {self.wanted}")
        record = Record(type(self).__name__, self.version, self.config.size, preparation.masks)
        if old is not None and (old.masks, old.size) != (record.masks, record.size):
            raise BenchError(
                f"{self.root}: was begun at size {_text(old.size)} with masks from {old.masks}, not at {_text(record.size)} "
                f"with those from {record.masks}; go on with the same, or remove it"
            )
        pairs = [pair for found in splits.values() for pair in found]
        conversions = [conversion for pair in pairs for conversion in self._conversions(pair)]
        used = archives_of([conversion.member for conversion in conversions])
        if not self.config.allow_incomplete:
            verify_md5(used, self.checksums)
        write_record(self.root, record)
        self._make(preparation, splits, conversions, progress)
        write_record(
            self.root,
            replace(record, ready=True, sources=tuple(path.name for path in used), shortfall=tuple(lacking)),
        )

    def _make(
        self,
        preparation: Preparation,
        splits: dict[SplitName, list[Pair]],
        conversions: list[Conversion],
        progress: Progress | None,
    ) -> None:
        files = [conversion.target for conversion in conversions]
        done = 0

        def step(count: int) -> None:
            nonlocal done
            done = min(done + count, 2 * len(files))  # the few lists that are hashed too don't count
            if progress is not None:
                progress(done, 2 * len(files))

        run_conversions(conversions, step)
        verify_sizes(zip(files[::2], files[1::2], strict=True))
        texts = {f"{split}.txt": [p.image_id for p in pairs] for split, pairs in splits.items()}
        known = {image_id for ids in texts.values() for image_id in ids}
        texts |= {name: [i for i in ids if i in known] for name, ids in preparation.lists.items()}
        paths = {self.root / self.layout.lists / name: ids for name, ids in texts.items()}
        paths[self.root / self.layout.classes] = list(self.classes)
        for path, lines in paths.items():
            write_if_changed(path, "".join(f"{line}\n" for line in lines).encode())
        write_checksums(self.root, [*files, *paths], step)

    def _conversions(self, pair: Pair) -> tuple[Conversion, Conversion]:
        assert pair.image is not None and pair.mask is not None
        suffix = pair.image.where.suffix.lower() if self.config.size is None else ".png"
        image = self.root / self.layout.images / f"{pair.image_id}{suffix}"
        return Conversion(pair.image, image, self._convert_image), Conversion(
            pair.mask, self.mask_path(pair.image_id), self._convert_mask
        )

    def _convert_image(self, where: Path, data: bytes) -> bytes:
        """Decode, which finds damage; resize where a size is asked for, else keep the file's own bytes."""
        image = load_rgb(where, data)
        if self.config.size is None:
            return data
        return png(self._prepared(image, Image.Resampling.BILINEAR))

    def _convert_mask(self, where: Path, data: bytes) -> bytes:
        labels = np.asarray(self.decode_labels(where, data))
        mapped = map_labels(where, labels, self.label_map, type(self).__name__)
        mask = self._prepared(Image.fromarray(mapped), Image.Resampling.NEAREST)
        return png(put_colours(mask, self.palette, self.void_colour))

    @classmethod
    def decode_labels(cls, where: Path, data: bytes) -> Image.Image:
        """Return an official mask's values, 8-bit.

        Raises:
            BenchError: if it is damaged.
        """
        return load_index_mask(where, data)

    def _check_use(self, record: Record) -> None:
        """Raise if a folder with this record can't be used with this config."""
        if (record.dataset, record.version) != (type(self).__name__, self.version):
            raise BenchError(f"{self.root}: prepared as {record.dataset}, version {record.version}: use another folder")
        if record.size not in (None, self.config.size):
            raise BenchError(
                f"{self.root}: prepared at size {_text(record.size)}, but {_text(self.config.size)} is asked for; set this "
                "size, or prepare another folder: data prepare --set size=null serves every size"
            )

    @cached_property
    def record(self) -> Record:
        """How the folder was prepared.

        Raises:
            BenchError: if it wasn't, or not in a way that serves this config.
        """
        record = read_record(self.root)
        if record is None:
            raise BenchError(f"{self.root} isn't prepared: run `data prepare` with --from DIR; DIR holds {self.wanted}")
        self._check_use(record)
        if not record.ready:
            raise BenchError(f"{self.root}: its preparation isn't finished; run the same `data prepare` again")
        if record.shortfall and not self.config.allow_incomplete:
            raise BenchError(f"{self.root}: not the whole dataset: {'; '.join(record.shortfall)}; to use it, {_ALLOW}")
        return record

    def ids(self, split: SplitName) -> tuple[str, ...]:
        """Return the ids of a split in the order of its list.

        Raises:
            BenchError: if the folder isn't prepared, or see :meth:`VocLayout.ids`.
        """
        _ = self.record  # raises where the folder can't be used
        return super().ids(split)

    @property
    def made(self) -> Mapping[str, str]:
        """What the preparation wrote down of its files; nothing where it fell short of the published dataset."""
        if self.record.shortfall:
            return {}
        sums = dict(read_checksums(self.root))
        for path in self.lists(tuple(self.published)):
            name = path.relative_to(self.root).as_posix()
            # Preparations of earlier versions didn't write down their lists; then the published number of ids must do.
            if name not in sums and path.is_file() and self._has_published_counts():
                sums[name] = file_digest(path)
        return sums

    def _has_published_counts(self) -> bool:
        return all(len(self.ids(split)) == count for split, count in self.published.items())

    def check(self, progress: Progress | None = None) -> CheckReport:
        """Walk the whole dataset, and compare every file with what was prepared."""
        try:
            record = self.record
        except BenchError as error:
            return CheckReport(type(self).__name__, str(self.root), problems=[str(error)])
        report = super().check(progress)
        report.problems += changed_files(self.root, progress)
        size = "own sizes" if record.size is None else f"size {_text(record.size)}"
        report.notes.append(f"prepared from {', '.join(record.sources)} at {size}; masks from {record.masks}")
        report.notes += [f"incomplete: {line}" for line in record.shortfall]
        return report


def _text(size: tuple[int, int] | None) -> str:
    return "null (each image's own)" if size is None else f"[{size[0]}, {size[1]}]"
