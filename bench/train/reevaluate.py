"""Evaluates a finished run again from its weights alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
from torch import nn

from bench.arrays import UInt8
from bench.class_mean import indices
from bench.data.content import content_of
from bench.data.roots import DataRoots, open_dataset
from bench.data.splits import load_split
from bench.errors import BenchError
from bench.spec.cell import Cell
from bench.spec.resources import Device, Resources
from bench.spec.sections import Evaluation, OtherEvaluation, ScoredSplit
from bench.store.cells import data_of, read_cell
from bench.store.confusion import Confusion, confusion_path, read_confusion, write_confusion
from bench.store.contents import changes
from bench.store.evaluations import StoredEvaluation
from bench.store.rounding import as_it_began
from bench.store.run import Run
from bench.train import checkpoint
from bench.train.build import visible_labels
from bench.train.evaluate import Sample, describe, evaluate
from bench.train.host import decoding_threads
from bench.train.metrics import Score
from bench.train.predictor import Predictor, load_weights, with_weights
from bench.train.reader import Reader
from bench.train.setup import set_up_torch, torch_environment
from datasets.base import SplitName
from datasets.content import read_content

if TYPE_CHECKING:
    from datasets.base import SegmentationDataset

OWN = OtherEvaluation()  # the run's own split and protocol


@dataclass(frozen=True)
class Evaluator:
    """A run's predictor with its weights, and the data it is scored on.

    Attributes:
        cell: the run's.
        predictor, weights_sha256: with the run's weights.
        reader, ids, split: what it is scored on.
        device, evaluation: how.
        data_changed: how the data differ from those of the run, in words; None where they are the same or it isn't known.
    """

    cell: Cell
    predictor: nn.Module
    reader: Reader
    ids: tuple[str, ...]
    device: torch.device
    split: str
    evaluation: Evaluation
    weights_sha256: str
    data_changed: str | None

    @classmethod
    def open(
        cls, run: Run, which: str, roots: DataRoots, device: Device = "auto", asked: OtherEvaluation = OWN
    ) -> Evaluator:
        """Open a run.

        Args:
            run: a run that has been evaluated at least once.
            which: `last`, `best` or `selected` weights.
            roots: where the datasets lie.
            device: as in ``resources.device``.
            asked: split and protocol, where they aren't the run's own.

        Raises:
            BenchError: if the run has no such weights yet, or they don't fit, or there is no such device, or no such split.
        """
        cell = read_cell(run)
        dataset = open_dataset(cell.dataset, roots)
        evaluation = asked.of(cell.evaluation)
        ids, budget = _images(run, cell, dataset, asked.split)
        place = set_up_torch(as_it_began(run, Resources(device=device)), cell.numerics)
        weights = load_weights(run, which)
        predictor = with_weights(cell, len(dataset.classes), weights).to(place)
        reader = Reader(dataset, ids, 0, visible_labels(cell, budget), decoding_threads(place))
        split = asked.split or dataset.config.eval_split
        changed = changes(run.path.parent, data_of(run), content_of(cell.dataset, roots))
        return cls(cell, predictor, reader, ids, place, split, evaluation, checkpoint.digest(weights), changed)

    def score(self, watch: Callable[[Iterator[Sample]], Iterator[Sample]] = iter) -> Score:
        """Evaluate over the whole split; `watch` passes the samples on, and may raise."""
        classes, ids = self.reader.dataset.classes, self.ids
        return evaluate(
            self.predictor,
            watch(self.reader.pairs(ids)),
            len(classes),
            self.evaluation,
            self.device,
            self.cell.numerics,
            indices(self.evaluation.ignore_classes, classes),
            lambda place: self.reader.name(ids[place]),
        )

    def entry(self, run: Run, which: str, step: int | None, score: Score, seconds: float) -> StoredEvaluation:
        """Return a score as the store keeps it, with what torch says of itself; arguments are those of the entry."""
        dataset = self.reader.dataset
        mode, size, stride, ignored = self.evaluation.protocol
        return StoredEvaluation(
            cell_id=run.id,
            weights=which,
            step=step,
            weights_sha256=self.weights_sha256,
            data_fingerprint=self._content(dataset),
            split=self.split,
            images=len(self.ids),
            mode=mode,
            size=size,
            stride=stride,
            ignore_classes=list(ignored),
            evaluation=describe(self.evaluation, dataset, self.split),
            classes=list(dataset.classes),
            **score.as_dict(),
            seconds=seconds,
            environment=torch_environment(self.device),
        )

    def _content(self, dataset: SegmentationDataset) -> str:
        """Return the hash of what the scored split contains; held-out images are training images."""
        names = {name: name for name in get_args(SplitName)}
        return read_content(dataset, [names.get(self.split, "train")]).sha256

    def keep(self, run: Run, which: str, score: Score, step: int) -> Path | None:
        """Write what the run has no sound copy of: the matrices of its own evaluation, its pixels near boundaries.

        Returns:
            The file; None where nothing was missing.
        """
        kept, images = None, score.images
        assert images is not None
        with contextlib.suppress(BenchError):
            kept = read_confusion(run, which)
        if kept is not None:
            if images.near is None or kept.images.near is not None:
                return None
            images = replace(kept.images, near=images.near)
        write_confusion(run, which, Confusion(self.ids, step, images))
        return confusion_path(run, which)

    def predict(self, image_id: str) -> UInt8:
        """Return the predicted mask (H, W) uint8 of one image."""
        classes = self.reader.dataset.classes
        predictor = Predictor(self.predictor, classes, self.evaluation, self.cell.numerics, self.device)
        return predictor.mask(self.reader.image(image_id))


def _images(
    run: Run, cell: Cell, dataset: SegmentationDataset, asked: ScoredSplit | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids of a split, and those of them whose masks show only what the label budget has of them."""
    if asked == "holdout":
        ids = load_split(run.path.parent, cell.split_sha256).holdout
        if not ids:
            raise BenchError(
                f"{run.id}: split 'holdout': no images were held out; that is evaluation.holdout of its grid"
            )
        return ids, ids
    split = asked or dataset.config.eval_split
    ids = dataset.ids(split)
    if not ids:
        raise BenchError(f"dataset '{cell.dataset.name}': split '{split}' has no images")
    return ids, ()
