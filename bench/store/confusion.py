"""Confusion matrices per image of the evaluations that a run keeps, in RUN/confusion-WHICH.npz: most metrics come from them.

The file is what ``numpy.savez_compressed`` would write, but the same bytes for the same content. Its arrays: `ids` (N,)
text, `indptr` (N + 1,) int64, `cells` (nnz,) int32, `counts` (nnz,) int64, `classes` () and `step` () int64, and, where it
was asked for, `near` (N, 3, K) unsigned, pixels near boundaries. Image `i` has
`counts[j]` pixels of label `cells[j] // classes` and prediction `cells[j] % classes`, for j from indptr[i] to indptr[i + 1].
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from bench.errors import Damaged
from bench.files import write_atomically
from bench.patience import LARGE, open_file
from bench.store.run import Run

Array = NDArray[Any]
Int64 = NDArray[np.int64]
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can name: bytes must not depend on when a file was made


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """Pixels of N images by label and prediction, void left out; only the cells that aren't zero.

    Attributes:
        classes: K.
        indptr: (N + 1,) int64; the cells of image i are those from indptr[i] to indptr[i + 1].
        cells: (nnz,) int32, label · K + prediction, ascending within an image.
        counts: (nnz,) int64, pixels, above 0.
        near: (N, 3, K) uint32, pixels of each class near boundaries: in both, in the label, in the prediction, see
            ``bench.train.boundary``; None where they weren't counted.
    """

    classes: int
    indptr: Int64
    cells: Array
    counts: Array
    near: Array | None = None

    @classmethod
    def of(cls, matrices: Array) -> ImageCounts:
        """Return the counts of dense matrices (N, K, K), rows labels, columns predictions."""
        classes = matrices.shape[1]
        flat = matrices.reshape(len(matrices), classes * classes)
        images, cells = np.nonzero(flat)
        indptr = np.zeros(len(flat) + 1, np.int64)
        np.cumsum(np.bincount(images, minlength=len(flat)), out=indptr[1:])
        return cls(classes, indptr, cells.astype(np.int32), flat[images, cells].astype(np.int64))

    @classmethod
    def joined(cls, parts: Sequence[ImageCounts], order: Iterable[int]) -> ImageCounts:
        """Return the images of all parts, where `order` tells the place of each, one after the other.

        Args:
            parts: at least one, all of the same K.
            order: a permutation of 0 … N - 1: image j of the parts put together becomes image order[j].
        """
        lengths = np.concatenate([np.diff(part.indptr) for part in parts])
        begins = np.cumsum(lengths) - lengths
        source = np.argsort(np.fromiter(order, np.int64, len(lengths)))
        lengths, begins = lengths[source], begins[source]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        pick = np.arange(indptr[-1]) + np.repeat(begins - indptr[:-1], lengths)
        cells, counts = (np.concatenate([getattr(part, name) for part in parts])[pick] for name in ("cells", "counts"))
        return cls(parts[0].classes, indptr, cells, counts)

    def __len__(self) -> int:
        """Return the number of images N."""
        return len(self.indptr) - 1

    def matrices(self) -> Int64:
        """Return the matrices (N, K, K) int64, rows labels, columns predictions."""
        bins = self.classes * self.classes
        dense = np.zeros(len(self) * bins, np.int64)
        dense[np.repeat(np.arange(len(self)) * bins, np.diff(self.indptr)) + self.cells] = self.counts
        return dense.reshape(len(self), self.classes, self.classes)

    def total(self) -> Int64:
        """Return the sum over all images, (K, K) int64: the matrix of the dataset."""
        total = np.zeros(self.classes * self.classes, np.int64)
        np.add.at(total, self.cells, self.counts)
        return total.reshape(self.classes, self.classes)


@dataclass(frozen=True, eq=False)
class Confusion:
    """The matrices of one evaluation.

    Attributes:
        ids: of the images, in the order of the evaluation split.
        step: optimizer steps done when it was made.
        images: the counts, one matrix per id.
    """

    ids: tuple[str, ...]
    step: int
    images: ImageCounts

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return self.images.classes

    def matrices(self) -> Int64:
        """Return the matrices (N, K, K) int64: pixels by image, label and prediction, void left out."""
        return self.images.matrices()

    def total(self) -> Int64:
        """Return the sum over all images, (K, K) int64: the matrix of the dataset."""
        return self.images.total()

    def arrays(self) -> dict[str, Array]:
        """Return what the file holds, by name."""
        near = {} if self.images.near is None else {"near": self.images.near}
        return {
            "ids": np.array(self.ids, np.str_),
            "indptr": self.images.indptr,
            "cells": self.images.cells,
            "counts": self.images.counts,
            "classes": np.array(self.classes, np.int64),
            "step": np.array(self.step, np.int64),
            **near,
        }

    def sha256(self) -> str:
        """Return the hash of the matrices: names, types, shapes and bytes, which neither compression nor `near` changes."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            if name == "near":  # may be added to a finished run
                continue
            digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def confusion_path(run: Run, which: str) -> Path:
    """Return where the matrices of the `last`, `best` or `selected` evaluation are kept."""
    return run.path / f"confusion-{which}.npz"


def write_confusion(run: Run, which: str, confusion: Confusion) -> None:
    """Write the matrices of the `last`, `best` or `selected` evaluation, whole or not at all."""
    save_confusion(confusion_path(run, which), confusion)


def save_confusion(path: Path, confusion: Confusion, before_rename: Callable[[], None] | None = None) -> None:
    """Write matrices to a file; see ``bench.files.write_atomically``."""
    arrays = confusion.arrays()
    write_atomically(path, lambda file: _write(file, arrays), before_rename)


def digests(run: Run, steps: Mapping[str, int]) -> dict[str, str]:
    """Return the hash of the matrices that are kept of each evaluation; none of one that has none of its step.

    A damaged file has none either, and is named in what the process prints: it is no reason to fail a run that has come to
    its end, since ``evaluate`` makes the matrices anew.

    Args:
        run: the run.
        steps: `last`, `best` and so on, with the step of the evaluation.
    """
    found = dict[str, str]()
    for which, step in steps.items():
        try:
            kept = read_confusion(run, which)
        except Damaged as error:
            print(error)
            continue
        if kept is not None and kept.step == step:
            found[which] = kept.sha256()
    return found


def _write(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            archive.writestr(member, data.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=6)


def read_confusion(run: Run, which: str) -> Confusion | None:
    """Return the matrices of the `last`, `best` or `selected` evaluation; None where none are kept, as of older runs.

    Raises:
        Damaged: if the file can't be read, or isn't what :func:`write_confusion` writes.
    """
    path = confusion_path(run, which)
    try:
        with open_file(path) as file, zipfile.ZipFile(cast("Any", file)) as archive:
            if sum(info.file_size for info in archive.infolist()) > LARGE:
                raise ValueError("larger than any matrices are")
            # Whole members, because only then their checksums are looked at.
            members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
        arrays = {name: np.load(io.BytesIO(data), allow_pickle=False) for name, data in members.items()}
        return _checked(arrays)
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged zip raises many types
        detail = error.why if isinstance(error, Damaged) else " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged(path, f"unreadable confusion matrices: {detail}; `evaluate` writes them again") from None


def matrices(run: Run) -> dict[str, Path]:
    """Return the files of matrices that lie in a run's directory, by evaluation."""
    return {path.stem.removeprefix("confusion-"): path for path in sorted(run.path.glob("confusion-*.npz"))}


def _checked(arrays: Mapping[str, Array]) -> Confusion:
    """Return the content of a file, or raise ValueError or KeyError where it can't be."""
    ids, indptr, cells, counts, classes, step = (
        arrays[name] for name in ("ids", "indptr", "cells", "counts", "classes", "step")
    )
    k, near = int(classes), arrays.get("near")
    bounds = np.concatenate([np.zeros(1, np.int64), np.diff(cells.astype(np.int64))])
    bounds[indptr[:-1][indptr[:-1] < len(cells)]] = 1  # an image's first cell follows nothing
    for holds, what in (
        (ids.ndim == 1 and ids.dtype.kind == "U", "ids are not a list of names"),
        (indptr.shape == (len(ids) + 1,) and indptr.dtype.kind == "i", "indptr does not fit the ids"),
        (all(a.ndim == 1 and a.dtype.kind in "iu" for a in (cells, counts)), "cells or counts are not whole numbers"),
        (len(cells) == len(counts) == indptr[-1] and indptr[0] == 0, "cells, counts and indptr differ in length"),
        (bool((np.diff(indptr) >= 0).all()), "indptr does not ascend"),
        (k > 0 and bool(((cells >= 0) & (cells < k * k)).all()), "a cell is outside the matrix"),
        (bool((bounds > 0).all()), "the cells of an image do not ascend"),
        (bool((counts > 0).all()), "a count is not above 0"),
        (near is None or (near.shape == (len(ids), 3, k) and near.dtype.kind in "iu"), "near does not fit the ids"),
    ):
        if not holds:
            raise ValueError(what)
    return Confusion(tuple(map(str, ids)), int(step), ImageCounts(k, indptr.astype(np.int64), cells, counts, near))
