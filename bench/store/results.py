"""What of a finished run can't be made anew by looking at other files: its result, and its weights.

A run one of which is damaged is `damaged`: never done, and no number of it enters a table, a plot or a bundle.
"""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from bench.errors import Damaged
from bench.files import read_json, write_json
from bench.patience import open_file
from bench.spec.messages import one_line
from bench.store.run import Run

Percent = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 53)]
WEIGHTS = ("last", "best", "selected")


class _Score(BaseModel):
    model_config = ConfigDict(extra="ignore")
    miou: Percent
    pixel_accuracy: Percent
    iou: list[Percent | None]


class _Evaluation(_Score):
    step: Count
    holdout_miou: Percent | None = None
    predictor: StrictStr | None = None
    predictors: dict[StrictStr, _Score] = {}


class _Result(BaseModel):
    """What every version wrote, and the types of what only some did."""

    model_config = ConfigDict(extra="ignore")
    cell_id: StrictStr | None = None
    classes: list[StrictStr]
    evaluation: StrictStr
    split_sha256: StrictStr
    labelled_images: Count
    last: _Evaluation
    best: _Evaluation
    selected: _Evaluation | None = None
    ignore_classes: list[StrictStr] | None = None
    holdout_images: Count | None = None
    labelled_pixels: Count | None = None
    unlabelled_images: Count | None = None
    data_sha256: StrictStr | None = None
    weights_sha256: StrictStr | None = None


def read_result(run: Run) -> dict[str, Any] | None:
    """Return the result of a run; None where it has none.

    Raises:
        Damaged: if it isn't what a run writes, or is another run's.
    """
    content = read_json(run.result, dict)
    if content is None:
        return None
    try:
        found = _Result.model_validate(content)
    except ValidationError as error:
        raise Damaged(run.result, one_line(error)) from None
    if found.cell_id not in (None, run.id):
        raise Damaged(run.result, f"it belongs to another run, {found.cell_id}")
    for which, one in (("last", found.last), ("best", found.best), ("selected", found.selected)):
        for score in () if one is None else (one, *one.predictors.values()):
            if len(score.iou) != len(found.classes):
                raise Damaged(run.result, f"{which}: {len(score.iou)} IoUs of {len(found.classes)} classes")
    return cast("dict[str, Any]", content)


def check_archive(file: BinaryIO, path: Path, thorough: bool) -> None:
    """Look at what ``torch.save`` wrote: whether it is a whole archive and, if thorough, compare every member's CRC-32.

    Raises:
        Damaged: if it isn't, or a member differs, which torch itself doesn't look at.
        OSError: if the file can't be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip() if thorough else None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise Damaged(path, f"unreadable: {' '.join(str(error).split())[:200]}") from None
    if broken is not None:
        raise Damaged(path, f"unreadable: the checksum of {broken} differs")


def check_weights(path: Path, thorough: bool = False) -> None:
    """Look at a file of tensors, see :func:`check_archive`.

    Raises:
        Damaged: if it isn't sound.
        OSError: if there is none, or it can't be read.
    """
    with open_file(path) as file:
        check_archive(cast("BinaryIO", file), path, thorough)


def check(run: Run, thorough: bool = False) -> dict[str, Any] | None:
    """Look at what a finished run has that can't be made anew; weights may be absent, as after a merge.

    Returns:
        Its result; None where it has none: its weights are not looked at then, they may be made anew.

    Raises:
        Damaged: naming the file.
    """
    result = read_result(run)
    if result is None:
        return None
    for which in WEIGHTS:
        with contextlib.suppress(FileNotFoundError):
            check_weights(run.weights(which), thorough)
    return result


Stamp = list[int]


def _stamp(run: Run) -> Stamp:
    """Return what changes with a result, and with a file of the run that is replaced."""
    result, folder = os.lstat(run.result), os.stat(run.path)  # noqa: PTH116 (half the time of Path.stat)
    return [result.st_mtime_ns, result.st_size, result.st_ino, folder.st_mtime_ns]


class Checked:
    """Which finished runs of a store were found sound, so that thousands needn't be read each time.

    ``STORE/.cache/checked.json`` keeps it; where it can't be written, or is damaged, the runs are looked at again.

    Args:
        store: the run store.
    """

    def __init__(self, store: Path) -> None:
        self._path = store / ".cache" / "checked.json"
        try:
            self._known: dict[str, Stamp] = read_json(self._path, dict) or {}
        except (Damaged, OSError):
            self._known = {}
        self._changed = False

    def check(self, run: Run) -> None:
        """Do what :func:`check` does, unless the run is as it was when it was found sound."""
        stamp = _stamp(run)
        if self._known.get(run.id) != stamp:
            check(run)
            self._known[run.id], self._changed = stamp, True

    def keep(self) -> None:
        """Write down what was found."""
        if self._changed:
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_json(self._path, self._known, indent=None)
