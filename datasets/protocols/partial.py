"""ReCo's "Partial Labels, Full Dataset": every training image has a few labelled pixels per class."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

import bench.config
from bench.arrays import IGNORE_INDEX, UInt8
from bench.registry import register
from bench.seeds import rng
from datasets.base import SegmentationDataset
from datasets.split import Protocol, Split, annotated

VERSION = 1  # raise it when other pixels are drawn


def _canonical(value: Any) -> str:
    text = str(value).replace(" ", "")
    number = text.removesuffix("%")
    if text == "1px":
        return text
    try:
        share = float(number) if number != text else float("nan")
    except ValueError:
        share = float("nan")
    if not 0 < share < 100:
        raise ValueError(
            f"'{value}' is no share of an image's pixels: write 1px, or a percentage such as 1%, 5% or 25%"
        )
    return f"{share:g}%"


class PartialConfig(bench.config.Config):
    """Options of `partial`.

    Attributes:
        pixels: `1px`, one pixel per image and class; or the share of each class's pixels in an image: `1%`, `5%`, `25%`.
    """

    pixels: Annotated[str, BeforeValidator(_canonical)]


def draw_pixels(mask: UInt8, share: float, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the labelled pixels of a mask: per class one at random, grown until it covers the share.

    The authors grow it by repeated 5×5 dilation, not held back by the class's border, and keep what lies in the class,
    until that is at least ⌊share · class pixels⌋. After t dilations a pixel has become all within Chebyshev distance 2t,
    so t is found here by counting distances. Source: ``dataset/pascal_preprocess.py`` of lorenmt/reco.

    Args:
        mask: (H, W), class index, 255 = void.
        share: of each class's pixels, 0 to 1; 0 is one pixel.
        draw: one draw per class, in the order of the classes.

    Returns:
        (H, W), True where the label is visible.
    """
    visible = np.zeros(mask.shape, bool)
    for index in np.unique(mask):
        if index == IGNORE_INDEX:
            continue
        rows, columns = np.nonzero(mask == index)
        centre = int(draw.integers(len(rows)))
        distance = np.maximum(np.abs(rows - rows[centre]), np.abs(columns - columns[centre]))
        dilations = (distance + 1) // 2
        covered = np.cumsum(np.bincount(dilations))
        needed = int(np.searchsorted(covered, max(int(share * len(rows)), 1)))
        inside = dilations <= needed
        visible[rows[inside], columns[inside]] = True
    return visible


@register("protocol", "partial")
class Partial(Protocol):
    """ReCo's protocol of partial labels: all images, of each class one pixel or a share that grows around one.

    Every image is labelled, by its visible pixels, and unlabelled as a whole: methods that use unlabelled images get it
    in both roles, and keep the visible labels as truth in its pseudo-label.
    """

    Config: ClassVar[type[bench.config.Config]] = PartialConfig
    shorthand: ClassVar[str | None] = "pixels"

    def __init__(self, config: PartialConfig) -> None:
        super().__init__(config)
        self._pixels = config.pixels
        self._share = 0.0 if config.pixels == "1px" else float(config.pixels.removesuffix("%")) / 100

    @property
    def title(self) -> str:
        """``1px``, ``1%`` …"""
        return self._pixels

    def split(self, dataset: SegmentationDataset, seed: int) -> Split:
        """Return all training images in both roles; the pixels whose labels are visible are a function of the seed alone.

        Photographs without mask, of which no pixel can be visible, are left out.

        Raises:
            BenchError: if no training image has a mask.
        """
        ids = annotated(dataset)
        return Split(ids, ids, visible_labels=f"partial {VERSION}, {self._pixels}, seed {seed}")

    def visible(self, image_id: str, mask: UInt8, seed: int) -> UInt8:
        """Return the mask with all but the drawn pixels void."""
        drawn = draw_pixels(mask, self._share, rng(seed, "partial", self._pixels, image_id))
        return np.where(drawn, mask, np.uint8(IGNORE_INDEX))
