"""What a description consists of, before it has a format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.report.tally import Tally
from bench.report.tuning.standing import Searched
from bench.store.hours import Spent
from bench.store.summary import CellSummary, Tuning

UNKNOWN = "unknown"


@dataclass(frozen=True)
class RunFacts:
    """What the store knows of a planned run.

    Attributes:
        cell: as planned.
        state, status: its state, and the state with its reason.
        identity: its parts and sections; empty where neither the plan nor the run says them.
        attempts: number of attempts; 0 where none is recorded.
        kind, model, threads: of its last attempt: `cpu` or `cuda`, the device's name, CPU threads; None where unknown.
        processes: that trained it together, likewise: on GPUs of one each.
        seconds: of training and evaluation; None where it didn't end or doesn't say.
        memory: peak bytes on the device, of the process on a CPU.
        began, ended: time of the first attempt, and of the last record.
        evaluation, split, data: protocol of evaluation in words, hashes of split and data; "" where unknown.
        labelled, unlabelled: images; None where it isn't done.
        classes: number of classes; 0 where it isn't done.
        commit, dirty: of the code in its last attempt, "" where unknown; and whether that had changes.
        spent: what all its attempts took; None where it has none.
        merged: it came from another store.
        went_on: it began on other hardware.
        mixed_code: it began with other code.
    """

    cell: CellSummary
    state: str
    status: str
    identity: Mapping[str, Any]
    attempts: int = 0
    kind: str | None = None
    model: str | None = None
    threads: int | None = None
    processes: int = 1
    seconds: float | None = None
    memory: float | None = None
    began: datetime | None = None
    ended: datetime | None = None
    evaluation: str = ""
    split: str = ""
    data: str = ""
    labelled: int | None = None
    unlabelled: int | None = None
    classes: int = 0
    commit: str = ""
    dirty: bool = False
    spent: Spent | None = None
    merged: bool = False
    went_on: bool = False
    mixed_code: bool = False

    @property
    def done(self) -> bool:
        """Whether it has a result."""
        return self.state == "done"

    @property
    def place(self) -> tuple[str, ...]:
        """Its coordinates but the seeds: the entry of a table that it belongs to."""
        return tuple(str(v) for k, v in self.cell.coords.items() if k != "seed" and not k.startswith("seeds."))


@dataclass(frozen=True)
class DataFacts:
    """A dataset of the grid.

    Attributes:
        name, about, options: registered name, what it is, and its options in words; `about` is "" where unknown.
        classes: number of classes; 0 where unknown.
        images: number per split; empty where the store doesn't say.
        evaluated_on: the split that scores are of.
        fingerprints: hashes of its content, with the number of planned runs of each.
    """

    name: str
    about: str
    options: str
    classes: int
    images: Mapping[str, int]
    evaluated_on: str
    fingerprints: Counter[str]


@dataclass(frozen=True)
class SplitFacts:
    """A label split: how it was drawn, its hash and the number of its images (None where unknown).

    `labelled` is the whole label budget, those that are held out to choose a checkpoint among them.
    """

    dataset: str
    protocol: str
    labels: str
    seed: str
    sha256: str
    labelled: int | None
    unlabelled: int | None
    held_out: int = 0


@dataclass(frozen=True)
class GridFacts:
    """All that is known of a grid.

    Attributes:
        name, title, select: of the grid.
        commands: what makes its runs and its table.
        data_options: words of a command line that say where the data of its datasets is, `DIR` standing for the folders.
        runs: the planned runs, in grid order.
        data, splits: its datasets and label splits.
        software: what runs were computed with: the values of each fact, with the number of runs.
        deviations: what ``--set`` changed of the recipe, in words.
        tuning, searched: how settings were chosen, and the trials of each; None and nothing of a grid that isn't tuned.
    """

    name: str
    title: str
    select: str
    commands: tuple[str, ...]
    data_options: tuple[str, ...]
    runs: tuple[RunFacts, ...]
    data: tuple[DataFacts, ...]
    splits: tuple[SplitFacts, ...]
    software: Tally
    deviations: tuple[str, ...]
    tuning: Tuning | None = None
    searched: tuple[Searched, ...] = ()

    @property
    def done(self) -> list[RunFacts]:
        """The runs that are done."""
        return [run for run in self.runs if run.done]


@dataclass(frozen=True)
class Passage:
    """A titled passage of the section."""

    title: str
    text: str


@dataclass(frozen=True)
class Item:
    """A question of the checklist, what the store answers, and what only the authors can say ("" where nothing)."""

    question: str
    answer: str
    open: str = ""


@dataclass(frozen=True)
class Description:
    """The whole section; `facts` are what it says, for programs."""

    title: str
    passages: tuple[Passage, ...]
    items: tuple[Item, ...]
    splits: tuple[SplitFacts, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def number(count: float, noun: str) -> str:
    """Write ``1 run``, ``2,000 runs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def joined(words: Iterable[str]) -> str:
    """Write ``a``, ``a and b``, ``a, b and c``."""
    found = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)
