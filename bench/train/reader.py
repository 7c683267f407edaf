"""Reading images and masks: decoded once where memory allows; masks of unlabelled images are refused."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from bench.arrays import UInt8

if TYPE_CHECKING:
    from datasets.base import SegmentationDataset

AHEAD_BYTES = 256 << 20  # of decoded pairs that wait to be used: 31 of full Cityscapes, hundreds of VOC


class Images(Protocol):
    """Where a loader takes decoded images and masks from, by id."""

    def image(self, image_id: str) -> UInt8:
        """Return the image (H, W, 3) uint8; not to be written to."""

    def mask(self, image_id: str) -> UInt8:
        """Return the mask (H, W) uint8; not to be written to."""


class Reader:
    """Decoded images and masks by id, kept up to a budget; beyond it they are decoded anew each time. Thread-safe.

    Args:
        dataset: what to read.
        masks_of: the only ids whose masks may be read: labelled and evaluated ones. The masks of
            a run's unlabelled images can't be read.
        budget: bytes to keep.
        visible: the part of a mask that a run may see, where images are labelled in part: (id, mask) to mask, 255 where the
            label is withheld. No caller gets the whole mask.
        threads: that decode for :meth:`pairs`.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        masks_of: Iterable[str],
        budget: int,
        visible: Callable[[str, UInt8], UInt8] | None = None,
        threads: int = 2,
    ) -> None:
        self.dataset = dataset
        self.threads = threads
        self.masks_of = frozenset(masks_of)
        self.visible = visible
        self._left = budget
        self._kept: dict[tuple[str, str], UInt8] = {}
        self._lock = threading.Lock()

    def _get(self, kind: str, image_id: str, decode: Callable[[str], UInt8]) -> UInt8:
        key = (kind, image_id)
        array = self._kept.get(key)
        if array is None:
            array = decode(image_id)
            with self._lock:
                if array.nbytes <= self._left and key not in self._kept:
                    self._left -= array.nbytes
                    self._kept[key] = array
        return array

    def image(self, image_id: str) -> UInt8:
        """Return the image (H, W, 3) uint8; not to be written to."""
        return self._get("image", image_id, self.dataset.image)

    def mask(self, image_id: str) -> UInt8:
        """Return the mask (H, W) uint8; not to be written to.

        Raises:
            PermissionError: for an image that is neither labelled nor evaluated in this run.
        """
        if image_id not in self.masks_of:
            raise PermissionError(f"the mask of {image_id} is withheld: the image is unlabelled in this run")
        return self._get("mask", image_id, self._visible_mask)

    def _visible_mask(self, image_id: str) -> UInt8:
        mask = self.dataset.mask(image_id)
        return mask if self.visible is None else self.visible(image_id, mask)

    def _pair(self, image_id: str) -> tuple[UInt8, UInt8]:
        return self.image(image_id), self.mask(image_id)

    def name(self, image_id: str) -> str:
        """Return what an error calls an image: its id, and the file of its mask where the dataset says where that is."""
        mask_path = getattr(self.dataset, "mask_path", None)
        return f"image '{image_id}'" + (f" (mask {mask_path(image_id)})" if mask_path else "")

    def pairs(self, ids: Sequence[str]) -> Iterator[tuple[UInt8, UInt8]]:
        """Yield (image, mask) of the ids in order, read by threads ahead of their use.

        Up to four pairs a thread are ahead, fewer where they are large (``AHEAD_BYTES``).
        """
        ahead: deque[Future[tuple[UInt8, UInt8]]] = deque()
        largest = 1
        with ThreadPoolExecutor(self.threads, thread_name_prefix="reader") as pool:
            try:
                for image_id in ids:
                    ahead.append(pool.submit(self._pair, image_id))
                    while len(ahead) >= min(4 * self.threads, max(AHEAD_BYTES // largest, 2)):
                        pair = ahead.popleft().result()
                        largest = max(largest, sum(array.nbytes for array in pair))
                        yield pair
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()
