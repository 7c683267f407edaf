"""config.json of an exported predictor: all that rebuilds it, and says what goes in and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.errors import BenchError
from bench.files import read_json
from bench.spec.cell import Part, resolve_part
from bench.spec.messages import validate
from bench.spec.sections import Evaluation, Numerics
from datasets.base import DatasetConfig

FORMAT: Literal["semisegbench-predictor"] = "semisegbench-predictor"
VERSION = 1
CONFIG, WEIGHTS, GRAPH, CARD = "config.json", "model.safetensors", "model.onnx", "README.md"
Colour = tuple[int, int, int]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Normalisation(_Kept):
    """What is done to pixels. The network does it itself: it takes RGB in [0, 1].

    Attributes:
        mean, std: per channel, for RGB in [0, 1]; None where the network doesn't say.
    """

    input: Literal["RGB in [0, 1]"] = "RGB in [0, 1]"
    inside_the_network: Literal[True] = True
    mean: list[float] | None = None
    std: list[float] | None = None


class Preparation(_Kept):
    """To which size images are brought before they are predicted, bilinear, antialiased; one of the two, or neither.

    Attributes:
        size: (height, width).
        long_side: the longer side, in the image's shape.
    """

    size: tuple[int, int] | None = None
    long_side: int | None = None


class Trained(_Kept):
    """Where the weights come from.

    Attributes:
        run: the cell's id.
        weights: `last`, `best` or `selected`; `step` is when they were kept, `sha256` the hash of their tensors.
        miou: in %, under `evaluation`, in words.
        iou: of each class in %, None for an absent one.
    """

    run: str
    weights: str
    step: int
    sha256: str
    miou: float
    iou: list[float | None]
    evaluation: str


class ExportedConfig(_Kept):
    """The content of config.json.

    Attributes:
        network: registered name and options, without initial weights.
        classes, palette: names and RGB colours, in index order.
        evaluation, numerics: how the run is evaluated, see ``bench.spec.sections``.
    """

    format: Literal["semisegbench-predictor"] = FORMAT
    version: int = Field(default=VERSION, ge=1, le=VERSION)
    made_by: str
    network: dict[str, Any]
    classes: list[str] = Field(min_length=1, max_length=255)
    palette: list[Colour]
    preparation: Preparation = Preparation()
    normalisation: Normalisation = Normalisation()
    evaluation: dict[str, Any]
    numerics: dict[str, Any]
    trained: Trained
    onnx: dict[str, Any] | None = None

    @property
    def part(self) -> Part:
        """The network, from scratch whatever the file says: no other file is opened.

        Raises:
            BenchError: for a network that isn't registered here, or options that it doesn't have.
        """
        options = {key: value for key, value in self.network.items() if key != "weights"}
        return resolve_part("network", options, f"{CONFIG}: network")

    def evaluated(self) -> tuple[Evaluation, Numerics]:
        """Return how the run is evaluated. Raises BenchError for what can't be."""
        return (
            validate(Evaluation, self.evaluation, f"{CONFIG}: evaluation"),
            validate(Numerics, self.numerics, f"{CONFIG}: numerics"),
        )

    @property
    def prepared(self) -> DatasetConfig:
        """What prepares an image."""
        return validate(DatasetConfig, self.preparation.model_dump(), f"{CONFIG}: preparation")


def is_exported(folder: Path) -> bool:
    """Tell whether a folder holds what `export` wrote."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def read_config(folder: Path) -> ExportedConfig:
    """Read a folder's config.json.

    Raises:
        BenchError: if there is none, or it isn't one of this version.
    """
    path = folder / CONFIG
    try:
        found = read_json(path)
    except ValueError:
        raise BenchError(f"{path}: damaged; export the run again") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BenchError(
            f"{folder}: no exported predictor: {CONFIG} must say format '{FORMAT}'; `export RUN -o DIR` makes one"
        )
    if isinstance(found.get("version"), int) and found["version"] > VERSION:
        raise BenchError(f"{path}: of a newer version ({found['version']}) than this one reads ({VERSION})")
    return validate(ExportedConfig, found, str(path))
