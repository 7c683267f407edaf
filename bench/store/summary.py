"""A grid's summary: what status, tables and plots need of a plan. Planning writes it, they read it without torch.

The file holds all cells of a grid, so it is read in one pass by pydantic; keys of another version are ignored.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.spec.deviations import Deviation
from bench.spec.grid import Published
from bench.store.throughput import Work

Coords = dict[str, str | int]  # label per axis; the seed is a number


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CellSummary(_Stored):
    """A planned cell.

    Attributes:
        id, slug: of the cell; its run is the directory named by the id.
        coords: its label per axis, from which tables and plots are built.
        order: its place in the grid.
        iterations: planned optimizer steps; None where unknown.
        facts: what a published figure must agree with; None where the grid names no paper.
        deviations: the keys in which it deviates from the grid's recipe; None where nothing was overridden.
    """

    id: str
    slug: str
    coords: Coords
    order: int = 0
    iterations: int | None = None
    facts: dict[str, str] | None = None
    deviations: list[str] | None = None


class DrawnSplit(_Stored):
    """A label split and how it was drawn: the specs of dataset and protocol, the seed, the number of images held out, and
    the hash of its id lists.
    """

    dataset: dict[str, Any]
    protocol: dict[str, Any]
    seed: int
    holdout: int = 0
    sha256: str


class Freshness(_Stored):
    """What a plan depends on beside its grid and the code.

    Attributes:
        splits: the splits of all cells.
        files: size in bytes and time of change in ns of every file that an option names, by its path.
    """

    splits: list[DrawnSplit] = []
    files: dict[str, tuple[int, int]] = {}


class Summary(_Stored):
    """What reporting needs of a plan.

    Attributes:
        name, title: of the grid.
        select: the headline rule that the grid fixed, `last` or `best`.
        iterations: of the first cell.
        recipe: as the grid's file has it.
        axes: key and number of values of each axis.
        cells: in grid order.
        published: the papers that the grid is compared with.
        deviations: what ``--set`` changed of the recipe; None where nothing was overridden.
        work: the cells brought together by the time they take.
        freshness: what the plan depends on.
    """

    name: str
    title: str = ""
    select: str = "last"
    iterations: int | None = None
    recipe: dict[str, Any] = {}
    axes: list[tuple[str, int]] = []
    cells: list[CellSummary] = []
    published: Published | None = None
    deviations: list[Deviation] | None = None
    work: list[Work] = []
    freshness: Freshness = Freshness()
