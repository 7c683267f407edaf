"""The grid file: a recipe, axes, excludes and overrides, and how they expand into points.

A *point* is one combination of axis values: the raw cell (dotted keys applied to the recipe) and its coordinates, which
are the readable labels that tables and plots use. Points become cells in :mod:`bench.plan.cells`, which adds the split.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from bench.config import Config
from bench.errors import BenchError, nearest, unknown
from bench.spec.cell import PARTS, SECTIONS, part_mapping
from bench.spec.conditions import Condition, Resolved
from bench.spec.messages import validate
from bench.spec.resources import Resources
from bench.spec.tune import Tune
from bench.text import cut, shown
from bench.yaml import Raw, RawView, read_yaml

MAX_COMBINATIONS = 1_000_000  # of axes' values, before some are excluded: planning 10,000 takes seconds
GRIDS = Path(__file__).parents[1] / "grids"
# `profile.…` changes the resources that a cell asks of a cluster (slurm/profiles); it is no part of the cell.
CELL_KEYS = (*PARTS, *SECTIONS, "seed", "profile")
DEFAULT_RECIPE: Raw = {
    "dataset": {"name": "synthetic"},
    "protocol": {"name": "full"},
    "method": {"name": "supervised"},
    "network": {"name": "deeplabv3plus"},
    "augmentation": {"name": "reco"},
    "seed": 0,
}


class Override(Config):
    """Changes for the cells that match.

    Attributes:
        when: dotted key to value, or to a list of values of which one must match; all keys must match, see
            :mod:`bench.spec.conditions`. A part (``method: classmix``) matches by its name or its label.
        set: dotted key to new value.
    """

    when: Raw = Field(min_length=1)
    set: Raw = Field(min_length=1)


Fact = Literal[
    "network",
    "backbone",
    "stem",
    "weights",
    "output_stride",
    "crop",
    "evaluation",
    "iterations",
    "dataset_split",
    "eval_split",
    "split_family",
    "recipe",
]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], Field(min_length=1), BeforeValidator(_listed)]


class Published(Config):
    """The published figures that stand beside a grid's own in its table.

    Attributes:
        papers: files of ``results/published``, without their ending. Of two figures of the same provenance rank, that of
            the paper named first is the one compared with.
        methods: the grid's methods, by their label, to what the papers call them: a name, or several that all count.
        match: what a cell must share with a figure to be compared with it; what a figure's source doesn't say can't
            differ. Dataset, protocol and label budget must always agree. ``recipe`` stands for all facts of the paper's
            recipe: learning rate, batch, augmentation, losses.
        margin: how far in mIoU a reproduction may be from its figure: "reproduced" is a mean shown to lie within it.
    """

    papers: Names
    methods: dict[str, Names] = Field(min_length=1)
    match: list[Fact] = Field(default=list(get_args(Fact)))
    margin: float = Field(default=1.0, gt=0)


class Grid(Config):
    """A grid file.

    Attributes:
        title: one line for tables and plots.
        recipe: what all cells share; keys as in a cell.
        axes: key to list of values. Keys: a part (``method``, ``protocol``, …), ``seed`` or any dotted key. A part's value
            may carry a ``label``, which tables show instead of its name and options.
        exclude: combinations to leave out, written as an override's ``when``.
        overrides: changes for some cells, applied in order after the axes.
        select: the checkpoint whose mIoU is the headline figure: `last`, `best` on the evaluation split, or `selected` on
            the images that ``evaluation.holdout`` holds out.
        resources: threads, device, memory: nothing that changes a result.
        published: the papers' figures that the table shows beside the grid's own.
        tune: settings are searched first, with the same number of trials for every method, see :mod:`bench.spec.tune`.
    """

    title: str = ""
    recipe: Raw = Field(default={})
    axes: dict[str, list[Any]] = Field(default={})
    exclude: list[Raw] = Field(default=[])
    overrides: list[Override] = Field(default=[])
    select: Literal["last", "best", "selected"] = "last"
    resources: Resources = Resources()
    published: Published | None = None
    tune: Tune | None = None


@dataclass(frozen=True)
class Point:
    """One combination of axis values: raw cell, and the axis value per axis key."""

    raw: Raw
    values: Raw


def grid_files() -> list[Path]:
    """Return the grids that ship with the harness; a file of another kind says so in its first key, ``memory:``."""
    return [path for path in sorted(GRIDS.glob("*.yaml")) if not re.search(r"^memory:", path.read_text("utf-8"), re.M)]


def grid_path(grid: str) -> Path:
    """Return the file of a grid given as a path or as the name of a file in ``bench/grids``.

    Raises:
        BenchError: if there is no such file.
    """
    path = Path(grid)
    if path.suffix in {".yaml", ".yml"} or "/" in grid:
        if not path.is_file():
            raise BenchError(f"{cut(grid, 200)}: no such grid file")
        return path
    shipped = {p.stem: p for p in grid_files()}
    if grid not in shipped:
        raise unknown("grid", grid, shipped)
    return shipped[grid]


def read_grid(path: Path) -> Grid:
    """Read and validate a grid file.

    Raises:
        BenchError: one line for all problems of the file's frame.
    """
    content = read_yaml(path)
    if content in (None, {}):
        raise BenchError(f"{path}: the file is empty; a grid has at least a `recipe` or `axes`")
    grid = validate(Grid, content, f"{path}: ")
    for key, values in grid.axes.items():
        if not values:
            raise BenchError(f"{path}: axes.{key}: an axis needs at least one value")
    for section, keys in [("recipe", grid.recipe), ("axes", grid.axes)]:
        check_keys(keys, f"{path}: {section}")
    for i, override in enumerate(grid.overrides):
        check_keys(override.set, f"{path}: overrides.{i}.set")
        check_keys(override.when, f"{path}: overrides.{i}.when")
    for i, when in enumerate(grid.exclude):
        check_keys(when, f"{path}: exclude.{i}")
    return grid


def check_keys(keys: RawView, where: str) -> None:
    """Refuse keys whose first part is no key of a cell.

    Raises:
        BenchError: with the allowed keys and the nearest match.
    """
    for key in keys:
        first = str(key).split(".")[0]
        if first not in CELL_KEYS:
            why = f"unknown key '{cut(first)}'{nearest(first, CELL_KEYS)}; allowed: {', '.join(CELL_KEYS)}"
            raise BenchError(f"{where}.{cut(str(key))}: {why}")


def apply(raw: Raw, key: str, value: Any, where: str) -> None:
    """Set a dotted key of a raw cell; setting a part by its first key replaces it whole, a section is merged.

    Raises:
        BenchError: if the key runs through something that has no keys.
    """
    first, *rest = key.split(".")
    if first in PARTS and not rest:
        # A copy, since a later key may change an option in it: an axis' value is that of many cells.
        raw[first] = _copy(part_mapping(first, value, where))
        _check_label(raw[first], where)
        return
    if first in SECTIONS and not rest and not isinstance(value, Mapping):
        raise BenchError(f"{where}: expected keys and values, not {shown(value)}")
    if isinstance(value, Mapping) and (first not in PARTS or rest):
        for inner, inner_value in value.items():
            apply(raw, f"{key}.{inner}", inner_value, where)
        return
    node = raw
    for step in [first, *rest][:-1]:
        if node.get(step) is None:  # null: an option that is off has no keys yet
            node[step] = {}
        node = node[step]
        if not isinstance(node, dict):
            raise BenchError(f"{where}: '{cut(str(step))}' has no keys, so '{cut(key)}' can't be set")
    node[[first, *rest][-1]] = value
    if first in PARTS and rest[0] == "label":
        _check_label(raw[first], where)


def _check_label(part: RawView, where: str) -> None:
    if not (isinstance(label := part.get("label", "-"), str) and label.strip()):
        raise BenchError(f"{where}: label: expected a text, not {shown(label)}; a word such as null is one in quotes")


def lookup(raw: RawView, key: str) -> Any:
    """Return the value of a dotted key, or None where the recipe leaves it to the default."""
    node: Any = raw
    for step in key.split("."):
        node = node.get(step) if isinstance(node, Mapping) else None
    return node


def _copy(node: Any) -> Any:
    """Copy nested mappings, which is all that :func:`apply` changes in place."""
    return {key: _copy(value) for key, value in node.items()} if isinstance(node, dict) else node


def expand(grid: Grid, where: str, sets: RawView, replaced: bool = False) -> Iterator[Point]:
    """Yield the points of a grid in order: the first axis varies slowest.

    Args:
        grid: the grid file.
        where: its path, for messages.
        sets: ``--set`` values: those that name an axis have replaced it already, the others are applied last.
        replaced: whether any axis was; a condition may then match no cell.

    Raises:
        BenchError: a key that can't be set, or a condition that matches no cell (a typing error, most likely).
    """
    if math.prod(len(values) for values in grid.axes.values()) > MAX_COMBINATIONS:
        raise BenchError(f"{where}: axes: more than {MAX_COMBINATIONS:,} combinations of their values")
    base = _copy(DEFAULT_RECIPE)
    for key, value in grid.recipe.items():
        apply(base, key, value, f"{where}: recipe.{key}")
    resolved = Resolved()
    overrides = [(Condition(f"overrides.{i}.when", o.when, resolved), o.set) for i, o in enumerate(grid.overrides)]
    excludes = [Condition(f"exclude.{i}", when, resolved) for i, when in enumerate(grid.exclude)]
    for condition in (*(condition for condition, _ in overrides), *excludes):
        condition.check_sections(where)
    for combination in itertools.product(*grid.axes.values()):
        raw = _copy(base)
        values = dict(zip(grid.axes, combination, strict=True))
        for key, value in values.items():
            apply(raw, key, value, f"{where}: axes.{key}")
        for i, (condition, changes) in enumerate(overrides):
            if condition(raw):
                for key, value in changes.items():
                    apply(raw, key, value, f"{where}: overrides.{i}.set.{key}")
        for key, value in sets.items():
            apply(raw, key, value, f"--set {cut(key)}")
        hits = [condition for condition in excludes if condition(raw)]  # each is asked, since each notes what it meets
        if not hits:
            yield Point(raw, values)
    if not replaced:
        # What is set for all cells is set after the overrides, so their conditions don't see it.
        for condition in (*(condition for condition, _ in overrides), *(() if sets else excludes)):
            condition.check(where)
