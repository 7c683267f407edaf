"""Base of the datasets that are prepared from official archives into VOC layout (`voc`, `cityscapes`, `sun_rgbd`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from bench.errors import BenchError
from bench.files import file_digest
from datasets.base import CheckReport, DatasetConfig, Progress, SplitName
from datasets.layout.checksums import read_checksums
from datasets.layout.decode import load_index_mask, load_rgb
from datasets.layout.files import read_lines
from datasets.layout.voc_layout import VocLayout
from datasets.official.archives import Member, Sources, archives_of, verify_md5
from datasets.official.encode import map_labels, png, put_colours
from datasets.official.prepare import (
    Conversion,
    Pair,
    Preparation,
    Record,
    changed_files,
    is_whole,
    make_files,
    preparing,
    read_record,
    shortfalls,
    size_text,
    usable,
    write_record,
)

_UNLABELLED = "unlabelled.txt"
_ALLOW = "--set allow_incomplete=true"


class OfficialConfig(DatasetConfig):
    """Options of datasets prepared from official archives.

    Attributes:
        allow_incomplete: accept less than the published dataset (a part of it, for a trial): its images are used, `check`
            says what is missing, and the cells' ids differ from those of the whole dataset.
        unlabelled: the name of photographs without masks that the dataset offers, to train on too; none by default.
    """

    allow_incomplete: Annotated[bool, Field(json_schema_extra={"identity": "non-default"})] = False
    unlabelled: Annotated[str | None, Field(json_schema_extra={"identity": "non-default"})] = None


class OfficialDataset(VocLayout):
    """A dataset in VOC layout with a record of how it was prepared.

    A folder prepared at full size serves every `size`, by resizing at read time; one prepared at a size serves this size
    only, faster. The pixels are the same: both ways are the same operation on the same decoded image, and what was
    resized is stored without loss.

    Attributes:
        version: of the prepared pixels; part of every cell's identity.
        published: number of images per split.
        published_unlabelled: number of photographs without masks that can be had too, by what `unlabelled` calls them.
        archives: beginnings of the names of the official archives.
        checksums: their published MD5 sums, by file name.
        wanted: what to give with ``--from``, in words.
        label_map: class index per value in the official masks, void included; other values are errors.
        void_colour: in which void is drawn.
    """

    Config: ClassVar[type[DatasetConfig]] = OfficialConfig
    version: ClassVar[int] = 1
    published: ClassVar[Mapping[SplitName, int]]
    published_unlabelled: ClassVar[Mapping[str, int]] = {}
    archives: ClassVar[tuple[str, ...]]
    checksums: ClassVar[Mapping[str, str]] = {}
    wanted: ClassVar[str]
    label_map: ClassVar[Mapping[int, int]]
    void_colour: ClassVar[tuple[int, int, int]] = (0, 0, 0)
    names_identify: ClassVar[bool] = True
    config: OfficialConfig

    def __init__(self, config: OfficialConfig, root: Path) -> None:
        super().__init__(config, root)
        if config.unlabelled not in (None, *self.published_unlabelled):
            raise BenchError(f"unlabelled: {type(self).__name__} has no photographs called '{config.unlabelled}'")

    @property
    def given(self) -> bool:
        """Whether the folder is used as it is, though no preparation of this code made it; by default never."""
        return False

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
            wanted = config.unlabelled or record.unlabelled
            if record.ready and not record.shortfall and record.unlabelled == wanted and dataset._is_whole():
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
        unlabelled = self.config.unlabelled or (old.unlabelled if old else None)
        lacking = shortfalls(preparation, self.published, unlabelled, self.published_unlabelled)
        if lacking and not self.config.allow_incomplete:
            raise BenchError(
                f"--from {sources.folder}: not the whole dataset: {'; '.join(lacking)}. Needed: {self.wanted}; "
                f"to use a part of it, {_ALLOW}"
            )
        record = Record(type(self).__name__, self.version, self.config.size, preparation.masks, unlabelled=unlabelled)
        if old is not None and (old.masks, old.size) != (record.masks, record.size):
            raise BenchError(
                f"{self.root}: was begun at size {size_text(old.size)} with masks from {old.masks}, not at "
                f"{size_text(record.size)} with those from {record.masks}; go on with the same, or remove it"
            )
        splits = usable(preparation, sources.folder, self.wanted)
        photographs = {i: m for i, m in preparation.unlabelled.items() if m is not None} if unlabelled else {}
        pairs = [self._conversions(pair) for found in splits.values() for pair in found]
        single = [self._image_conversion(image_id, image) for image_id, image in photographs.items()]
        used = archives_of([c.member for c in (*chain.from_iterable(pairs), *single)])
        if not self.config.allow_incomplete:
            verify_md5(used, self.checksums)
        write_record(self.root, record)
        lists = {f"{split}.txt": [p.image_id for p in found] for split, found in splits.items()}
        known = set(chain.from_iterable(lists.values()))
        lists |= {name: [i for i in ids if i in known] for name, ids in preparation.lists.items()}
        lists |= {_UNLABELLED: list(photographs)} if unlabelled else {}
        texts = {self.root / self.layout.lists / name: ids for name, ids in lists.items()}
        texts[self.root / self.layout.classes] = list(self.classes)
        make_files(self.root, pairs, single, texts, progress)
        sources_of = tuple(path.name for path in used)
        write_record(self.root, replace(record, ready=True, sources=sources_of, shortfall=tuple(lacking)))

    def _conversions(self, pair: Pair) -> tuple[Conversion, Conversion]:
        assert pair.image is not None and pair.mask is not None
        mask = Conversion(pair.mask, self.mask_path(pair.image_id), self._convert_mask)
        return self._image_conversion(pair.image_id, pair.image), mask

    def _image_conversion(self, image_id: str, image: Member) -> Conversion:
        suffix = image.where.suffix.lower() if self.config.size is None else ".png"
        return Conversion(image, self.root / self.layout.images / f"{image_id}{suffix}", self._convert_image)

    def _convert_image(self, where: Path, data: bytes) -> bytes:
        """Decode, which finds damage; resize where a size is asked for, else keep the file's own bytes."""
        image = load_rgb(where, data)
        if self.config.size is None:
            return data
        return png(self._prepared(image, Image.Resampling.BILINEAR))

    def _convert_mask(self, where: Path, data: bytes) -> bytes:
        labels = np.asarray(self.decode_labels(where, data))
        mapped = map_labels(where, labels, self.label_map, type(self).__name__)
        mask = Image.fromarray(mapped)
        if self.config.size is not None:
            mask = self._prepared(mask, Image.Resampling.NEAREST)
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
                f"{self.root}: prepared at size {size_text(record.size)}, but {size_text(self.config.size)} is asked for; "
                "set this size, or prepare another folder: data prepare --set size=null serves every size"
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
        if self.config.unlabelled not in (None, record.unlabelled):
            name = self.config.unlabelled
            raise BenchError(
                f"{self.root}: prepared without {name}: run `data prepare` with --set unlabelled={name} and --from DIR"
            )
        if record.shortfall and not self.config.allow_incomplete:
            raise BenchError(f"{self.root}: not the whole dataset: {'; '.join(record.shortfall)}; to use it, {_ALLOW}")
        return record

    def listed(self, split: SplitName) -> tuple[str, ...]:
        """Return the ids of a split in the order of its list.

        Raises:
            BenchError: if the folder isn't prepared, or see :meth:`VocLayout.listed`.
        """
        if not self.given:
            _ = self.record  # raises where the folder can't be used
        return super().listed(split)

    def unlabelled_list(self) -> Path | None:
        """Return the list of photographs without masks, None where the config asks for none."""
        return None if self.config.unlabelled is None else self.root / self.layout.lists / _UNLABELLED

    @cached_property
    def photographs(self) -> tuple[str, ...]:
        """Ids of the photographs without masks that the config asks for.

        Raises:
            BenchError: if the folder was prepared without them.
        """
        path = self.unlabelled_list()
        return () if path is None or not self.record.unlabelled else tuple(filter(None, read_lines(path)))

    def has_mask(self, image_id: str) -> bool:
        """Return False for a photograph without mask, and True for any other image."""
        return image_id not in self._bare

    @cached_property
    def _bare(self) -> frozenset[str]:
        return frozenset(self.photographs)

    def lists(self, splits: Sequence[SplitName]) -> tuple[Path, ...]:
        """Return the lists of some splits, that of unlabelled photographs with training's, and the file of class names."""
        extra = self.unlabelled_list() if "train" in splits else None
        return (*super().lists(splits), *([] if extra is None else [extra]))

    @property
    def made(self) -> Mapping[str, str]:
        """What the preparation wrote down of its files; nothing where it fell short of the published dataset."""
        if self.given or self.record.shortfall:
            return {}
        sums = dict(read_checksums(self.root))
        for path in self.lists(tuple(self.published)):
            name = path.relative_to(self.root).as_posix()
            # Preparations of earlier versions didn't write down their lists; then the published number of ids must do.
            if name not in sums and path.is_file() and self._has_published_counts():
                sums[name] = file_digest(path)
        return sums

    def _has_published_counts(self) -> bool:
        return all(len(self.listed(split)) == count for split, count in self.published.items())

    def check(self, progress: Progress | None = None) -> CheckReport:
        """Walk the whole dataset, and compare every file with what was prepared."""
        if self.given:
            return super().check(progress)
        try:
            record = self.record
        except BenchError as error:
            return CheckReport(type(self).__name__, str(self.root), problems=[str(error)])
        report = super().check(progress)
        report.problems += changed_files(self.root, progress)
        size = "own sizes" if record.size is None else f"size {size_text(record.size)}"
        report.notes.append(f"prepared from {', '.join(record.sources)} at {size}; masks from {record.masks}")
        report.notes += [f"photographs without masks: {record.unlabelled}"] if record.unlabelled else []
        report.notes += [f"incomplete: {line}" for line in record.shortfall]
        return report
