"""Cells at the papers' sizes, whose steps are taken on blank images: no data set is needed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from bench.cost.predict import BlankImages
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.spec.cell import Cell
from bench.spec.resources import Resources
from bench.train.build import build_loader, build_stepper
from bench.train.loader import Loader
from bench.train.step import Stepper
from datasets.split import Split

CLASSES = 21
METHODS = ("supervised", "mean_teacher", "classmix", "reco", "rc2l", "fixmatch", "unimatch")


def make_cells(
    methods: Sequence[str | Mapping[str, Any]] = METHODS,
    backbone: str = "resnet101",
    crop: int = 321,
    batch: int = 10,
    **sections: Any,
) -> dict[str, Cell]:
    """Return a cell for each method: the recipe of ReCo's Pascal VOC table, smaller where the arguments say so.

    Args:
        methods: names, or mappings of a name and options.
        backbone: of DeepLabV3+, and of RC²L's network.
        crop: side of the crop in pixels.
        batch: labelled images, and as many unlabelled ones, per step.
        sections: further sections of the recipe, such as ``numerics={"precision": "bf16"}``.
    """
    grid = {
        "recipe": {
            "dataset": "synthetic",
            "network": {"name": "deeplabv3plus", "backbone": backbone},
            "augmentation": {"reco": {"crop_size": crop}},
            "schedule": {"iterations": 100, "batch": {"labelled": batch, "unlabelled": batch}},
            **sections,
        },
        "axes": {"method": list(methods)},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.yaml"
        path.write_text(yaml.safe_dump(grid))
        plan = make_plan(Request(str(path), store=Path(folder) / "store"))
    return {planned.cell.method.name: planned.cell for planned in plan.cells}


def make_stepper(cell: Cell, device: torch.device) -> tuple[Stepper, Loader]:
    """Return what takes a cell's steps on a device, and its batches of blank images."""
    stepper = build_stepper(cell, CLASSES, device)
    stepper.method.train()
    images = BlankImages(cell.augmentation.config.crop_size)
    return stepper, build_loader(stepper, images, Split(("labelled",), ("unlabelled",)), Resources())
