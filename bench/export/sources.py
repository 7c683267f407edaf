"""Where a predictor comes from: a run of the store, or a folder that `export` wrote."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.arrays import UInt8
from bench.data.roots import DataRoots
from bench.errors import BenchError
from bench.export.config import WEIGHTS, is_exported, read_config
from bench.files import read_json
from bench.spec.cell import Cell
from bench.spec.resources import Device, Resources
from bench.spec.sections import OtherEvaluation
from bench.store.cells import read_cell
from bench.store.rounding import as_it_began
from bench.store.run import Run
from bench.train import checkpoint
from bench.train.predictor import Predictor, State, load_weights, with_weights
from bench.train.setup import set_up_torch
from datasets.base import DatasetConfig
from datasets.photographs import voc_palette

Colours = list[tuple[int, int, int]]
AS_THE_RUN = OtherEvaluation()


@dataclass(frozen=True)
class Trained:
    """A trained predictor with what its output means.

    Attributes:
        name: of the run.
        predictor: on its device.
        palette: RGB per class.
        preparation: brings an image to the size at which it is predicted.
    """

    name: str
    predictor: Predictor
    palette: Colours
    preparation: DatasetConfig

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in index order."""
        return self.predictor.classes

    def predict(self, image: UInt8) -> UInt8:
        """Return the mask (H, W) uint8 of class indices of an image (H, W, 3) uint8, RGB: as large as the image.

        Where images are prepared to another size, the mask is that of the prepared one, brought back by nearest neighbours.

        Raises:
            BenchError: if the image is another kind of array.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise BenchError(
                f"an image is an array (H, W, 3) of uint8, RGB; this one is {image.shape} of {image.dtype}"
            )
        return fitted(self.predictor.mask(self.preparation.prepared(image)), image.shape[:2])


def fitted(mask: UInt8, size: tuple[int, ...]) -> UInt8:
    """Return a mask (h, w) at another size (H, W), by nearest neighbours."""
    if mask.shape == size:
        return mask
    from PIL import Image

    resized = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.array(resized, dtype=np.uint8)


@dataclass(frozen=True)
class Source:
    """A finished run's cell, classes, colours, one of its evaluations and the weights that belong to it."""

    run: Run
    cell: Cell
    which: str
    classes: tuple[str, ...]
    palette: Colours
    result: dict[str, Any]
    weights: State

    @classmethod
    def open(cls, run: Run, which: str, roots: DataRoots) -> Source:
        """Read a run that is done.

        Args:
            run: the run.
            which: `last`, `best` or `selected` weights.
            roots: where its dataset may lie, whose colours are taken; where it isn't here, those of Pascal VOC.

        Raises:
            BenchError: if it isn't done, or has no such weights.
        """
        try:
            result = read_json(run.result)
        except ValueError:
            raise BenchError(f"{run.result}: damaged") from None
        if not isinstance(result, dict) or "last" not in result:
            raise BenchError(f"{run.id}: it is not done; only then it has a predictor to take")
        if which not in result:
            raise BenchError(f"{run.id}: it has no '{which}' evaluation, so no such weights")
        cell, classes = read_cell(run), tuple(map(str, result["classes"]))
        weights = load_weights(run, which)
        if which == "last" and checkpoint.digest(weights) != result["weights_sha256"]:
            raise BenchError(f"{run.weights(which)}: not the weights that its result names; evaluate the run again")
        return cls(run, cell, which, classes, _colours(cell, classes, roots), result, weights)

    def trained(self, device: Device = "auto", asked: OtherEvaluation = AS_THE_RUN) -> Trained:
        """Return the predictor, computed as the run was."""
        cell = self.cell
        place = set_up_torch(as_it_began(self.run, Resources(device=device)), cell.numerics)
        network = with_weights(cell, len(self.classes), self.weights).to(place)
        evaluation = asked.of(cell.evaluation)
        predictor = Predictor(network, self.classes, evaluation, cell.numerics, place)
        return Trained(self.run.id, predictor, self.palette, cell.dataset.config)


def _colours(cell: Cell, classes: tuple[str, ...], roots: DataRoots) -> Colours:
    try:
        dataset = cell.dataset.cls(cell.dataset.config, roots.of(cell.dataset))
        if tuple(dataset.classes) == classes:
            return list(dataset.palette)
    except (BenchError, OSError):
        pass  # its folder isn't here
    return voc_palette(len(classes))


def load_exported(folder: str | Path, device: Device = "auto") -> Trained:
    """Return the predictor that `export` wrote to a folder.

    ``load_exported("DIR").predict(image)`` gives the mask of an image (H, W, 3) uint8, RGB. No code in the folder is run.

    Args:
        folder: with config.json and model.safetensors.
        device: as in ``resources.device``.

    Raises:
        BenchError: if the folder holds none, or a network that isn't registered here, or weights that don't fit it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    config = read_config(folder)
    evaluation, numerics = config.evaluated()
    part, place = config.part, set_up_torch(Resources(device=device), numerics)
    network = part.cls(part.config, len(config.classes))
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BenchError(f"{folder / WEIGHTS}: can't be read ({error}); export the run again") from None
    if (found := checkpoint.digest(weights)) != config.trained.sha256:
        raise BenchError(f"{folder / WEIGHTS}: not the weights of its config.json ({found[:12]}); export the run again")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise BenchError(
            f"{folder / WEIGHTS}: doesn't fit network '{part.name}': {str(error).splitlines()[-1].strip()}"
        ) from None
    predictor = Predictor(network.eval().to(place), tuple(config.classes), evaluation, numerics, place)
    return Trained(config.trained.run, predictor, list(config.palette), config.prepared)


def open_trained(
    place: Run | Path, which: str, roots: DataRoots, device: Device = "auto", asked: OtherEvaluation = AS_THE_RUN
) -> Trained:
    """Return the predictor of a run, or of an exported folder.

    Args:
        place: either.
        which: weights of a run.
        roots: see :meth:`Source.open`.
        device: as in ``resources.device``.
        asked: how to predict, where not as the run is evaluated.

    Raises:
        BenchError: see :meth:`Source.open` and :func:`load_exported`.
    """
    if isinstance(place, Run):
        return Source.open(place, which, roots).trained(device, asked)
    found = load_exported(place, device)
    evaluation = asked.of(found.predictor.evaluation)
    return replace(found, predictor=replace(found.predictor, evaluation=evaluation))


def exported_folder(name: str) -> Path | None:
    """Return a folder that holds an exported predictor; None where the name is none."""
    return Path(name) if is_exported(Path(name)) else None
