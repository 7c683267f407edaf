"""Evaluates a finished run again from its weights alone, and draws what it predicts beside the truth."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from bench.data.roots import DataRoots, open_dataset
from bench.errors import BenchError
from bench.spec.cell import Cell
from bench.spec.sections import Device, Resources
from bench.store.cells import read_cell
from bench.store.confusion import Confusion, confusion_path, read_confusion, write_confusion
from bench.store.rounding import as_it_began
from bench.store.run import Run
from bench.train import checkpoint
from bench.train.build import build_method
from bench.train.evaluate import evaluate, scores_of
from bench.train.host import decoding_threads
from bench.train.metrics import Score
from bench.train.reader import Reader
from bench.train.setup import set_up_torch

GAP = 4  # pixels between the panels of a drawing


@dataclass(frozen=True)
class Evaluator:
    """A run's predictor with its weights, and the data it is scored on."""

    cell: Cell
    predictor: nn.Module
    reader: Reader
    ids: tuple[str, ...]
    device: torch.device

    @classmethod
    def open(cls, run: Run, which: str, roots: DataRoots, device: Device = "auto") -> Evaluator:
        """Open a run.

        Args:
            run: a run that has been evaluated at least once.
            which: `last` or `best` weights.
            roots: where the datasets lie.
            device: as in ``resources.device``.

        Raises:
            BenchError: if the run has no such weights yet, or they don't fit, or there is no such device.
        """
        cell = read_cell(run)
        dataset = open_dataset(cell.dataset, roots)
        place = set_up_torch(as_it_began(run, Resources(device=device)), cell.numerics)
        try:
            weights = checkpoint.load(run.weights(which))
        except checkpoint.Damaged as error:
            raise BenchError(f"{run.weights(which)}: {error}") from None
        if weights is None:
            raise BenchError(f"{run.weights(which)}: there are no such weights; the run is not done")
        ids = dataset.ids(dataset.config.eval_split)
        # The run's own weights replace the initial ones, whose file may be elsewhere by now.
        predictor = build_method(cell.from_scratch(), len(dataset.classes)).predictor.to(place)
        predictor.load_state_dict(weights)
        reader = Reader(dataset, ids, 0, threads=decoding_threads(place))
        return cls(cell, predictor.eval(), reader, ids, place)

    def score(self) -> Score:
        """Evaluate over the whole evaluation split."""
        classes = len(self.reader.dataset.classes)
        pairs = self.reader.pairs(self.ids)
        return evaluate(self.predictor, pairs, classes, self.cell.evaluation, self.device, self.cell.numerics)

    def keep(self, run: Run, which: str, score: Score, step: int) -> Path | None:
        """Write the matrices of a score of the whole evaluation split, unless the run has sound ones; return the file."""
        with contextlib.suppress(BenchError):
            if read_confusion(run, which) is not None:
                return None
        assert score.images is not None
        write_confusion(run, which, Confusion(self.ids, step, score.images))
        return confusion_path(run, which)

    @torch.inference_mode()
    def predict(self, image_id: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Return the predicted mask (H, W) uint8 of one image."""
        image = torch.from_numpy(self.reader.image(image_id)).to(self.device).permute(2, 0, 1)[None].float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cell.numerics.precision == "bf16"):
            scores = scores_of(self.predictor, image, self.cell.evaluation)
        mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = scores.argmax(1)[0].to(torch.uint8).cpu().numpy()
        return mask

    def draw(self, folder: Path, count: int) -> list[Path]:
        """Draw image, truth (void black) and prediction of `count` images spread over the split; return the files."""
        folder.mkdir(parents=True, exist_ok=True)
        colours = np.zeros((256, 3), np.uint8)
        palette = self.reader.dataset.palette
        colours[: len(palette)] = palette
        files = []
        for image_id in _spread(self.ids, count):
            panels = [self.reader.image(image_id), colours[self.reader.mask(image_id)], colours[self.predict(image_id)]]
            height, width = panels[0].shape[:2]
            sheet = np.full((height, 3 * width + 2 * GAP, 3), 255, np.uint8)
            for i, panel in enumerate(panels):
                sheet[:, i * (width + GAP) : i * (width + GAP) + width] = panel
            files.append(folder / f"{image_id.replace('/', '_')}.png")
            Image.fromarray(sheet).save(files[-1])
        return files


def _spread(ids: Sequence[str], count: int) -> list[str]:
    picks = np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int)
    return [ids[i] for i in picks]
