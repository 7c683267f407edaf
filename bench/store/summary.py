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
        data_sha256: hash of what its dataset's files contain; "" where that isn't known.
        pieces: what identifies it, as places in the summary's `identities`.
        needs: the files that it reads beside its dataset, as places in the summary's `needs`.
    """

    id: str
    slug: str
    coords: Coords
    order: int = 0
    iterations: int | None = None
    facts: dict[str, str] | None = None
    deviations: list[str] | None = None
    data_sha256: str = ""
    pieces: list[int] = []
    needs: list[int] = []


class DrawnSplit(_Stored):
    """A label split and how it was drawn: the specs of dataset and protocol, the seed, the number of images held out, and
    the hash of its id lists.
    """

    dataset: dict[str, Any]
    protocol: dict[str, Any]
    seed: int
    holdout: int = 0
    sha256: str


class KnownData(_Stored):
    """A dataset's name and options, and the hash of what its files contained; "" where it isn't here, with `reason`."""

    dataset: dict[str, Any]
    sha256: str
    reason: str = ""


class Freshness(_Stored):
    """What a plan depends on beside its grid and the code.

    Attributes:
        splits: the splits of all cells.
        data: the datasets of all cells.
        files: size in bytes and time of change in ns of every file that an option names, by its path.
        runs: hash of the names of the store's runs; "" where all data is here, so that no cell rests on them.
        chosen: of a tuned grid, the number of the chosen trial of each group, None while trials are open.
    """

    splits: list[DrawnSplit] = []
    data: list[KnownData] = []
    files: dict[str, tuple[int, int]] = {}
    runs: str = ""
    chosen: list[int | None] = []


class TrialSummary(_Stored):
    """A trial: its number, its settings by dotted key (none for trial 0), and its cells, one per seed of the trials."""

    number: int
    settings: dict[str, Any] = {}
    cells: list[str]


class TunedGroup(_Stored):
    """The cells that share a setting: all but seeds is the same.

    Attributes:
        coords: their labels per axis, without the seed.
        steps: the rungs at which trials are compared, in optimizer steps; the last one is their end.
        trials: by number.
        reported: the ids of the cells that get the chosen setting.
    """

    coords: dict[str, str]
    steps: list[int]
    trials: list[TrialSummary]
    reported: list[str] = []


class Tuning(_Stored):
    """How a grid is tuned.

    Attributes:
        grid: its name.
        on: the images on which a setting is chosen, `holdout` or `val-as-in-the-papers`; `images` is how many are held out.
        rule: the evaluation of a trial that counts: `last`, `selected` or `best`.
        trials: planned for each group.
        keep: share of trials that go on after a rung; None without halving.
        groups: in grid order.
    """

    grid: str
    on: str = "holdout"
    images: int | None = None
    rule: str = "last"
    trials: int = 1
    keep: float | None = None
    groups: list[TunedGroup] = []


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
        identities: what identifies the cells, each piece once: its key in a cell's identity, and its value.
        needs: files that cells read beside their datasets, each with what to do where it isn't there.
        left_out: runs of the store that a cell of absent data could be, on other data than the others.
        warnings: what a person should know of the data before runs are made on it.
        tuning: how the cells' settings are chosen; None where they are as written.
        trials: the cells of all trials; `cells` are those that are reported.
        processes: that train each cell together.
        checked: the data were here, and were looked at for what would make a run fail or its score meaningless.
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
    identities: list[tuple[str, Any]] = []
    needs: list[tuple[str, str]] = []
    left_out: list[str] = []
    warnings: list[str] = []
    processes: int = 1
    checked: bool = False
    tuning: Tuning | None = None
    trials: list[CellSummary] = []

    @property
    def absent(self) -> dict[str, str]:
        """Why a dataset isn't here, by its name; its cells are those of the store's runs."""
        return {str(known.dataset["name"]): known.reason for known in self.freshness.data if known.reason}

    def identity(self, cell: CellSummary) -> dict[str, Any]:
        """Return what identifies a planned cell, as its run's cell.json has it."""
        return dict(self.identities[place] for place in cell.pieces)
