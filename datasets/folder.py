"""Any images with index masks: VOC layout, or folders of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Field

from bench.errors import BenchError
from bench.registry import register
from datasets.base import DatasetConfig, SplitName
from datasets.layout.decode import MAX_PIXELS
from datasets.layout.files import escapes
from datasets.layout.label_map import LabelMap, Pairs, as_pairs, read_label_map
from datasets.layout.places import images_in
from datasets.layout.voc_layout import Layout, VocLayout


def _inside(path: str) -> str:
    if escapes(path):
        raise ValueError(f"'{path}' must be a path within the dataset's folder, without '..'")
    return path


_Inside = Annotated[str, AfterValidator(_inside)]
_Classes = Annotated[Pairs | _Inside | None, BeforeValidator(as_pairs)]


class FolderConfig(DatasetConfig):
    """Options of `folder`. Paths are relative to the dataset's root, so moving the data doesn't change a cell's id.

    Attributes:
        title: what your data is called; part of a cell's id, so that the runs of two folders don't mix.
        images: folder of the images, ``ID.jpg``, ``.png``, ``.tif``, ``.bmp`` or ``.webp``; or a path with ``{id}`` in it,
            or with ``{folder}`` and ``{name}`` for what stands before and behind the id's last slash.
        masks: folder of the masks, ``ID.png``, at most 8 bits, pixel = class index, 255 = void; or a path in the same way,
            such as ``annotations/{id}_seg.png``, whose suffix may be .png, .tif, .bmp or .gif.
        lists: folder of ``train.txt``, ``val.txt`` and, where there is one, ``test.txt``: an id a line. A training image
            without a mask is an unlabelled photograph.
        unlabelled_images: folder of more photographs to train on without labels: all images in it, at any depth, that no
            list names and that have no mask. Their ids are their paths in the dataset's folder. It may be that of the
            images.
        classes: what the stored values or colours of masks mean, where they aren't class indices: ``{0: void, 1: wall}``,
            ``{"#804080": road, "0 0 0": void}``, or a file that says so (see ``datasets/layout/label_map.py``). Several may
            mean one class; one that isn't listed is an error. Classes are numbered in the order of their names.
        classes_file: class names, one a line, in index order; used where `classes` isn't given.
        max_pixels: the most that an image may have, against files that unpack to gigabytes; above Pillow's limit only for
            files that you trust.
        min_classes: least number of classes in an image that the `few_labels` protocol takes.
    """

    title: str = ""
    images: _Inside = Layout.images
    masks: _Inside = Layout.masks
    lists: _Inside = Layout.lists
    unlabelled_images: Annotated[_Inside | None, Field(json_schema_extra={"identity": "non-default"})] = None
    classes: Annotated[_Classes, Field(json_schema_extra={"identity": "non-default"})] = None
    classes_file: _Inside = Layout.classes
    max_pixels: Annotated[int, Field(ge=1, json_schema_extra={"identity": False})] = MAX_PIXELS
    min_classes: Annotated[int, Field(ge=1, le=255)] = 1


@register("dataset", "folder")
class Folder(VocLayout):
    """Your own images and index masks: VOC layout, or two folders, lists and class names where you say."""

    Config: ClassVar[type[DatasetConfig]] = FolderConfig
    config: FolderConfig

    def __init__(self, config: FolderConfig, root: Path) -> None:
        super().__init__(config, root, Layout(config.images, config.masks, config.lists, config.classes_file))
        self._photographs: dict[str, Path] | None = None
        self.max_pixels = config.max_pixels

    @cached_property
    def label_map(self) -> LabelMap | None:
        """What masks' values mean; None where they are class indices.

        Raises:
            BenchError: if the file that says so can't be used.
        """
        given = self.config.classes
        if given is None:
            return None
        return read_label_map(self.root / given) if isinstance(given, str) else LabelMap(given)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order: those of the label map, else of the file of class names."""
        return super().classes if self.label_map is None else self.label_map.classes

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """The colours in which masks are coded, else those of Pascal VOC."""
        return (self.label_map.palette if self.label_map is not None else None) or super().palette

    @property
    def facts(self) -> Mapping[str, Any]:
        """What masks' values mean, where they aren't class indices."""
        if self.label_map is None:
            return super().facts
        return {**super().facts, "labels": [list(pair) for pair in self.label_map.pairs]}

    @cached_property
    def reading(self) -> str:  # type: ignore[override]
        """The label map as text."""
        return "" if self.label_map is None else repr(self.label_map.pairs)

    def stored_mask(self, path: Path) -> Image.Image:
        """Return a mask's labels at the size in which it is stored, mode L or P.

        Raises:
            BenchError: if it can't be used, or holds a value that isn't listed.
        """
        return super().stored_mask(path) if self.label_map is None else self.label_map.read(path, self.max_pixels)

    def lists(self, splits: Sequence[SplitName]) -> tuple[Path, ...]:
        """Return the lists of some splits, and the file that says what the classes are."""
        given = self.config.classes
        if given is None:
            return super().lists(splits)
        return (*map(self.list_path, splits), *([self.root / given] if isinstance(given, str) else []))

    @property
    def few_labels_min_classes(self) -> int:
        """As configured."""
        return self.config.min_classes

    @property
    def annotated(self) -> tuple[str, ...]:
        """The ids of the training list that have a mask."""
        return tuple(image_id for image_id in self.listed("train") if self.has_mask(image_id))

    def has_mask(self, image_id: str) -> bool:
        """Return whether there is a mask for an image."""
        return bool(self.masks.candidates(image_id))

    @property
    def photographs(self) -> tuple[str, ...]:
        """Ids of the images in the folder of unlabelled ones that no list names and that have no mask, sorted.

        Raises:
            BenchError: if there is no such folder, or two of its files differ in their suffix alone.
        """
        if self._photographs is None:
            self._photographs = self._find_photographs()
        return tuple(self._photographs)

    def find_image(self, image_id: str) -> Path | None:
        """Return an image's file, None where there is none.

        Raises:
            BenchError: if several files could be it.
        """
        found = (self._photographs or {}).get(image_id)
        return super().find_image(image_id) if found is None else found

    def _find_photographs(self) -> dict[str, Path]:
        if self.config.unlabelled_images is None:
            return {}
        folder = self.root / self.config.unlabelled_images
        if not folder.is_dir():
            raise BenchError(f"{folder}: there is no such folder (dataset.unlabelled_images)")
        taken = self._listed_files()
        found: dict[str, Path] = {}
        for path in images_in(folder):
            image_id = path.relative_to(self.root).with_suffix("").as_posix()
            if path in taken or self._is_annotated(path):
                continue
            if image_id in found:
                raise BenchError(
                    f"{path}: differs from {found[image_id].name} in its suffix alone; keep one of them there"
                )
            found[image_id] = path
        return found

    def _listed_files(self) -> set[Path]:
        """Return the images that a list names, and all masks of theirs."""
        ids = [i for split in get_args(SplitName) if self.list_path(split).exists() for i in self.listed(split)]
        return {path for i in ids for path in (*self.images.candidates(i), *self.masks.candidates(i))}

    def _is_annotated(self, path: Path) -> bool:
        """Tell whether an image of the images' own folder has a mask, or is one."""
        image_id = self.images.id_of(path)
        mask_id = self.masks.id_of(path)
        return (image_id is not None and self.has_mask(image_id)) or mask_id is not None
