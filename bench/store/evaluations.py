"""Further evaluations of a run's weights, on another split or under another protocol: files beside its result.

``RUN/evaluations/NAME.json`` holds one, ``result.json`` is never touched. The name says split, protocol (where it isn't the
run's own) and weights: ``test-last.json``, ``val-sliding-321x321-best.json``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.aside import set_aside
from bench.class_mean import indices
from bench.errors import BenchError, Damaged
from bench.files import read_json, write_json
from bench.spec.messages import one_line
from bench.spec.sections import Evaluation, OtherEvaluation
from bench.store.run import Run

TOLERANCE = 0.05  # mIoU in % by which two devices may differ; on one device scores are equal


class StoredEvaluation(BaseModel):
    """One evaluation as its file has it; keys that it doesn't know are passed over.

    Attributes:
        cell_id: the run.
        weights: `last`, `best` or `selected`; `step` is when they were kept, `weights_sha256` their hash.
        split: the images; `images` is their number.
        mode, size, stride, ignore_classes: the protocol; `evaluation` is it in words, as in result.json.
        data_fingerprint: of the dataset; None where it isn't known.
        classes: their names.
        miou, pixel_accuracy, iou: the score in %, see ``bench.train.metrics.Score``.
        seconds: that the evaluation took.
        environment: what it ran on, and when.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    cell_id: str
    weights: str
    step: int | None
    weights_sha256: str
    split: str
    images: int
    mode: str
    size: tuple[int, int] | None
    stride: tuple[int, int] | None
    ignore_classes: list[str] = []
    evaluation: str
    data_fingerprint: str | None = None
    classes: list[str]
    miou: float = Field(ge=0, le=100)
    pixel_accuracy: float = Field(ge=0, le=100)
    iou: list[float | None]
    seconds: float
    environment: dict[str, Any] = {}

    def differs(self, other: StoredEvaluation) -> bool:
        """Tell whether two scores of the same weights are further apart than rounding on two devices explains."""
        return abs(self.miou - other.miou) > TOLERANCE


class Kept(str, Enum):
    """What became of an evaluation: whether there was one already, and how they compare."""

    NEW = "new"
    SAME = "same"  # equal, or as close as two devices are
    DIFFERS = "differs"  # the kept one stays
    REPLACED = "replaced"  # the kept one was of other weights


def file_of(run: Run, split: str, evaluation: Evaluation, own: Evaluation, weights: str) -> Path:
    """Return the file of an evaluation.

    Args:
        run: the run.
        split: the images.
        evaluation: the protocol; classes that it ignores are named where there are any.
        own: that of the run, which has no place in the name.
        weights: `last`, `best` or `selected`.
    """
    sizes = [f"{rows}x{columns}" for rows, columns in filter(None, (evaluation.size, evaluation.stride))]
    places, own_places = ((one.mode, one.size, one.stride) for one in (evaluation, own))
    protocol = [] if places == own_places else [evaluation.mode, *sizes]
    if evaluation.ignore_classes != own.ignore_classes:
        protocol += [_ignoring(evaluation.ignore_classes)]
    return run.evaluations / f"{'-'.join([split, *protocol, weights])}.json"


def _ignoring(names: Sequence[str]) -> str:
    """Return ignored classes as a file's name has them; a hash tells names apart that have other characters in common."""
    words = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") for name in names)[:40].strip("-")
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:8]
    return f"without-{words or 'classes'}-{digest}" if names else "all-classes"


def read(path: Path) -> StoredEvaluation | None:
    """Return an evaluation; None where there is none.

    Raises:
        Damaged: if the file isn't an evaluation, or not of the run in whose directory it lies.
    """
    content = read_json(path, dict)
    try:
        found = None if content is None else StoredEvaluation.model_validate(content)
    except ValidationError as error:
        raise Damaged(path, f"not an evaluation: {one_line(error)[:200]}; evaluate again") from None
    if found is not None and found.cell_id != path.parent.parent.name:
        raise Damaged(path, f"it belongs to another run, {found.cell_id}; evaluate again")
    return found


def known_evaluation(path: Path) -> StoredEvaluation | None:
    """Return an evaluation; None where there is none. A damaged one is set aside: it is made anew."""
    try:
        return read(path)
    except Damaged as error:
        set_aside(path, error.why)
        return None


def keep(path: Path, entry: StoredEvaluation) -> Kept:
    """Write an evaluation whole, unless there is one of the same weights: it stays, and is compared.

    A damaged one is set aside.
    """
    known = known_evaluation(path)
    if known is not None and known.weights_sha256 == entry.weights_sha256:
        return Kept.DIFFERS if known.differs(entry) else Kept.SAME
    path.parent.mkdir(exist_ok=True)
    write_json(path, entry.model_dump(mode="json"))
    return Kept.NEW if known is None else Kept.REPLACED


def own_ignored(run: Run) -> frozenset[int]:
    """Return the indices of the classes that the scores of a run's result leave out of the mean; none of older runs.

    Raises:
        BenchError: if its result is damaged.
    """
    try:
        result = read_json(run.result) or {}
        return indices(result.get("ignore_classes") or [], result.get("classes") or [], f"{run.result}: ignore_classes")
    except (ValueError, TypeError, AttributeError):
        raise BenchError(f"{run.result}: damaged; run the grid again") from None


def own_protocol(run: Run) -> tuple[str, Evaluation]:
    """Return the split and the protocol that a run is evaluated on by itself, without building its cell.

    Raises:
        BenchError: if its cell.json is missing or damaged.
    """
    try:
        spec = read_json(run.cell)["spec"]
        return str(spec["dataset"].get("eval_split", "val")), Evaluation.model_validate(spec["evaluation"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BenchError(f"{run.cell}: missing or damaged; run the grid again") from None


def find(run: Run, asked: OtherEvaluation, weights: str) -> Path | None:
    """Return the file of an evaluation; None where it is the run's own, which its result holds.

    Raises:
        BenchError: see :func:`own_protocol`; or if what is asked for doesn't go with the run's own protocol.
    """
    split, own = own_protocol(run)
    evaluation = asked.of(own)
    if (asked.split or split, evaluation.protocol) == (split, own.protocol):
        return None
    return file_of(run, asked.split or split, evaluation, own, weights)
