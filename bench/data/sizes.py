"""How large a dataset's images are, from the headers of their files."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

from bench.patience import open_file

if TYPE_CHECKING:
    from pathlib import Path

    from datasets.base import DatasetConfig, SegmentationDataset, SplitName

Size = tuple[int, int]  # (height, width)


@lru_cache(maxsize=64)
def image_sizes(dataset: SegmentationDataset, split: SplitName) -> dict[str, Size]:
    """Return the (height, width) of each prepared image of a split by id.

    Images are decoded only where a file's header doesn't tell.

    Raises:
        BenchError: if the split's list or such an image can't be used.
    """
    ids = dataset.ids(split)
    if dataset.config.size is not None:
        return dict.fromkeys(ids, dataset.config.size)
    files = dataset.files(split)
    return {i: _header(files.get(i, ()), dataset.config) or _decoded(dataset, i) for i in ids}


def _header(files: tuple[Path, ...], config: DatasetConfig) -> Size | None:
    if not files:
        return None
    try:
        with open_file(files[0]) as file, Image.open(file) as image:
            return config.prepared_size(image.height, image.width)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _decoded(dataset: SegmentationDataset, image_id: str) -> Size:
    height, width = dataset.image(image_id).shape[:2]
    return height, width


def largest_image(dataset: SegmentationDataset, split: SplitName) -> Size:
    """Return the (height, width) of the image of a split that has most pixels."""
    return max(image_sizes(dataset, split).values(), key=lambda size: size[0] * size[1])
