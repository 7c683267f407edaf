"""Any images with index masks: VOC layout, or folders of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from bench.registry import register
from datasets.base import DatasetConfig
from datasets.layout.files import escapes
from datasets.layout.voc_layout import Layout, VocLayout


def _inside(path: str) -> str:
    if escapes(path):
        raise ValueError(f"'{path}' must be a path within the dataset's folder, without '..'")
    return path


_Inside = Annotated[str, AfterValidator(_inside)]


class FolderConfig(DatasetConfig):
    """Options of `folder`. Paths are relative to the dataset's root, so moving the data doesn't change a cell's id.

    Attributes:
        title: what your data is called; part of a cell's id, so that the runs of two folders don't mix.
        images: folder of the images, ``ID.jpg``, ``ID.jpeg`` or ``ID.png``.
        masks: folder of the masks, ``ID.png``, 8-bit, pixel = class index, 255 = void.
        lists: folder of ``train.txt``, ``val.txt`` and, where there is one, ``test.txt``: an id a line.
        classes_file: class names, one a line, in index order.
        min_classes: least number of classes in an image that the `few_labels` protocol takes.
    """

    title: str = ""
    images: _Inside = Layout.images
    masks: _Inside = Layout.masks
    lists: _Inside = Layout.lists
    classes_file: _Inside = Layout.classes
    min_classes: Annotated[int, Field(ge=1, le=255)] = 1


@register("dataset", "folder")
class Folder(VocLayout):
    """Your own images and index masks: VOC layout, or two folders, lists and class names where you say."""

    Config: ClassVar[type[DatasetConfig]] = FolderConfig

    def __init__(self, config: FolderConfig, root: Path) -> None:
        super().__init__(config, root, Layout(config.images, config.masks, config.lists, config.classes_file))
        self._min_classes = config.min_classes

    @property
    def few_labels_min_classes(self) -> int:
        """As configured."""
        return self._min_classes
