"""A plan beside its grid's recipe: what ``--set`` changed."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.spec.cell import PARTS, SECTIONS
from bench.spec.conditions import Resolved, same
from bench.spec.grid import DEFAULT_RECIPE, Grid, apply, lookup
from bench.yaml import Raw, RawView

# Keys that change neither a result nor a score.
_NEUTRAL = (
    "resources",
    "profile",
    "title",
    *(f"evaluation.{key}" for key in ("also", "boundary", "pseudo_labels", "predictors")),
)


class Deviation(BaseModel):
    """A key of the recipe that ``--set`` changed.

    Attributes:
        key: dotted key.
        value: what was set; of an axis, the values that the grid doesn't have.
        recipe: the recipe's value; of an axis, its values; of a part's option that the recipe leaves out, `default`.
        cells: the number of cells that deviate in it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    value: Any
    recipe: Any
    cells: int


def _same(key: str, one: Any, other: Any) -> bool:
    """Tell whether two values of a key are the same once they are resolved; a part's label changes nothing."""
    look, found = Resolved(), list[Any]()
    for value in (one, other):
        raw: Raw = {}
        apply(raw, key, value, key)
        resolved = look.value(raw, key)
        found.append({k: v for k, v in resolved.items() if k != "label"} if isinstance(resolved, dict) else resolved)
    return same(*found)


def _recipe(grid: Grid) -> Raw:
    """Return the raw recipe, with the defaults of the harness's own sections."""
    raw: Raw = {name: model().model_dump(mode="json") for name, model in SECTIONS.items()}
    raw |= {**deepcopy(DEFAULT_RECIPE), "select": grid.select}
    for key, value in grid.recipe.items():
        apply(raw, key, value, f"recipe.{key}")
    return raw


def deviations(written: Grid, sets: RawView, points: Sequence[RawView]) -> tuple[list[Deviation], list[list[str]]]:
    """Return how cells deviate from their grid's recipe, as ``--set`` made them.

    Args:
        written: the grid as its file has it.
        sets: the values given.
        points: each cell's value per axis.

    Returns:
        The deviations, and per cell the keys in which it deviates. A value that an axis has anyway is no deviation.
    """
    recipe, found, keys = _recipe(written), list[Deviation](), [list[str]() for _ in points]
    for key, value in sets.items():
        if any(f"{key}.".startswith(f"{neutral}.") for neutral in _NEUTRAL):
            continue
        if key in written.axes:
            usual = written.axes[key]
            hit = [i for i, point in enumerate(points) if not any(_same(key, point[key], known) for known in usual)]
            value = [
                v for v in (value if isinstance(value, list) else [value]) if any(v == points[i][key] for i in hit)
            ]
        else:
            usual = lookup(recipe, key)
            hit = [] if usual is not None and _same(key, value, usual) else list(range(len(points)))
        for i in hit:
            keys[i].append(key)
        if hit:
            known = "default" if usual is None and key.split(".")[0] in PARTS else usual
            found.append(Deviation(key=key, value=value, recipe=known, cells=len(hit)))
    return found, keys
