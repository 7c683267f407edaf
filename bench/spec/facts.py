"""A cell in the words of ``results/published``: what a published figure must agree with to be compared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.spec.cell import Cell

_DEEP_STEM = "-deepstem"
IGNORED = "evaluation.ignore_classes"  # names; published mIoU is over all classes
# Options of an augmentation that have a fact of their own.
_NAMED = ("crop_size",)


def said(value: Any) -> str:
    """Return a value as facts hold it, the same for equal values: `0.0025`, `0.5, 1.5`, `true`, `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value:g}"
    return ", ".join(map(said, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _size(size: Sequence[int] | None, longer: int | None = None) -> str:
    return f"{size[0]}x{size[1]}" if size else f"long side {longer}" if longer else "original size"


def _options(prefix: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Return options by their dotted keys; those that are mappings are no fact."""
    return {f"{prefix}.{key}": said(value) for key, value in options.items() if not isinstance(value, Mapping)}


def _network(cell: Cell) -> dict[str, str]:
    """Return the network's facts; a ResNet's stem is torchvision's, or the three 3x3 convolutions of the deep one."""
    options = cell.network.config.model_dump(mode="json")
    found = {key: str(options[key]) for key in ("backbone", "weights", "output_stride") if key in options}
    if found.get("backbone", "").startswith("resnet"):
        found["stem"] = "deep" if found["backbone"].endswith(_DEEP_STEM) else "7x7"
        found["backbone"] = found["backbone"].removesuffix(_DEEP_STEM)
    return {"network": cell.network.name, **found}


def _supervised(cell: Cell) -> str:
    loss = cell.loss
    return "cross-entropy" if loss.supervised == "ce" else f"ohem {loss.ohem_threshold:g}, {loss.ohem_kept}"


def _recipe(cell: Cell) -> dict[str, str]:
    """Return how the cell is trained, by dotted key; ``loss.auxiliary`` is what no option changes yet."""
    batch, augmentation = cell.schedule.batch, cell.augmentation.config.model_dump(mode="json")
    return {
        "loss.supervised": _supervised(cell),
        "loss.auxiliary": "none",
        "schedule.batch": f"{batch.labelled}+{batch.unlabelled}",
        "schedule.sampling": cell.schedule.sampling,
        **_options("optimizer", cell.optimizer.model_dump(mode="json")),
        "augmentation": cell.augmentation.name,
        **_options("augmentation", {key: value for key, value in augmentation.items() if key not in _NAMED}),
        **_options("method", cell.method.config.model_dump(mode="json")),
    }


def facts(cell: Cell) -> dict[str, str]:
    """Return what a published figure must agree with; sizes are height x width.

    Facts of the recipe have the cell's dotted keys. ``evaluations`` is how often a run is scored on the images that its
    best checkpoint is picked on.
    """
    crop = getattr(cell.augmentation.config, "crop_size", None)
    size = cell.evaluation.size or getattr(cell.dataset.config, "size", None)
    of_dataset = cell.dataset.config.model_dump(mode="json")
    stride = cell.evaluation.stride
    return {
        "dataset": cell.dataset.name,
        **({"dataset_split": of_dataset["split"]} if "split" in of_dataset else {}),
        **({"eval_split": of_dataset["eval_split"]} if "eval_split" in of_dataset else {}),
        **_network(cell),
        **({"crop": _size(crop)} if crop else {}),
        "evaluation": f"{cell.evaluation.mode} {_size(size, getattr(cell.dataset.config, 'long_side', None))}",
        **({"evaluation.stride": _size(stride)} if stride else {}),
        **({IGNORED: said(cell.evaluation.ignore_classes)} if cell.evaluation.ignore_classes else {}),
        "iterations": str(cell.schedule.iterations),
        "evaluations": str(-(-cell.schedule.iterations // cell.evaluation.every)),
        **_recipe(cell),
    }
