"""The trials of a tuned grid: which cells they are, how they stand, and the setting that its reported cells get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import BenchError
from bench.spec.cell import Cell, canonical
from bench.spec.grid import Grid, Point, apply
from bench.spec.tune import Settings, Tune, check_space, rung_steps, settings, space_of, trial_raw
from bench.store.summary import Coords, TrialSummary, TunedGroup, Tuning
from bench.store.trials import Outcome, outcome
from bench.yaml import Raw

_SEEDS = ("seed", "seeds")


@dataclass
class Trial:
    """A trial in the making: number, settings, and the raw cell of each of its seeds."""

    number: int
    settings: Settings
    raws: list[Raw]


@dataclass
class Group:
    """Points that differ in their seeds alone, and the trials of their setting.

    Attributes:
        places: of the points in the grid.
        trials: by number.
        summary, outcome: once the trials are cells.
    """

    places: list[int]
    trials: list[Trial]
    summary: TunedGroup | None = None
    outcome: Outcome | None = None

    @property
    def outcome_open(self) -> int:
        """Number of trials that are still compared: neither left out nor stopped at a rung."""
        assert self.outcome is not None
        return sum(not one.left_out and one.stopped is None for one in self.outcome.standings)

    def look_again(self, tuning: Tuning, store: Path) -> None:
        """Look how the trials stand now."""
        assert self.summary is not None
        self.outcome = outcome(store, tuning, self.summary)


@dataclass
class Tuned:
    """A tuned grid's groups.

    Attributes:
        tune: the grid's section.
        groups: in grid order.
        rule: the evaluation of a trial that counts.
    """

    name: str
    tune: Tune
    rule: str
    groups: list[Group] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, grid: Grid, points: Sequence[Point], where: str) -> Tuned:
        """Group a grid's points, and write down the trials of each group.

        Raises:
            BenchError: if the section doesn't fit the grid.
        """
        assert grid.tune is not None
        tune = grid.tune
        methods = {str(point.raw["method"]["name"]): None for point in points}
        classes = {method: registry.get("method", method) for method in methods}
        check_space(tune, classes, grid.axes, where)
        spaces = {method: space_of(tune, found, where) for method, found in classes.items()}
        tuned = cls(name, tune, _rule(grid))
        by_values: dict[str, list[int]] = {}
        for place, point in enumerate(points):
            same = {k: v for k, v in point.values.items() if k.split(".")[0] not in _SEEDS}
            by_values.setdefault(canonical(same), []).append(place)
        for places in by_values.values():
            point = points[places[0]]
            method = str(point.raw["method"]["name"])
            drawn = [(n, settings(tune, spaces[method], method, n)) for n in range(tune.trials)]
            tuned.groups.append(Group(places, [Trial(n, s, _raws(point, tune, s, where)) for n, s in drawn]))
        return tuned

    def raws(self) -> list[Raw]:
        """Return the raw cells of all trials, in order."""
        return [raw for group in self.groups for trial in group.trials for raw in trial.raws]

    def settle(self, cells: Iterable[Cell]) -> None:
        """Take the trials' cells, in the order of :meth:`raws`.

        Raises:
            BenchError: if rungs fall on one evaluation.
        """
        rest = iter(cells)
        for group in self.groups:
            trials = []
            for trial in group.trials:
                found = [next(rest) for _ in trial.raws]
                trials.append(TrialSummary(number=trial.number, settings=trial.settings, cells=[c.id for c in found]))
                steps = rung_steps(self.tune, found[0].schedule.iterations, found[0].evaluation.every)
            group.summary = TunedGroup(coords={}, steps=steps, trials=trials)  # its labels come with `look`

    def changes(self, group: Group) -> Settings | None:
        """Return the chosen setting of a group; None while its trials are open."""
        assert group.outcome is not None
        return None if group.outcome.chosen is None else group.trials[group.outcome.chosen].settings

    def look(self, labels: Sequence[Mapping[str, Any]], store: Path) -> None:
        """Give each group its labels, from those of its points, and look how its trials stand."""
        summary = self.summary()
        for group in self.groups:
            assert group.summary is not None
            coords = {key: str(value) for key, value in labels[group.places[0]].items() if not _is_seed(key)}
            group.summary = group.summary.model_copy(update={"coords": coords})
            group.outcome = outcome(store, summary, group.summary)

    def summary(self, reported: Sequence[str] = ()) -> Tuning:
        """Return what the store keeps of the tuning.

        Args:
            reported: ids of the grid's cells; empty while they aren't known.
        """
        groups = []
        for group in self.groups:
            assert group.summary is not None
            ids = [reported[place] for place in group.places] if reported else []
            groups.append(group.summary.model_copy(update={"reported": ids}))
        halving, select = self.tune.halving, self.tune.select
        return Tuning(
            grid=self.name,
            on=select.on,
            images=select.images,
            rule=self.rule,
            trials=self.tune.trials,
            keep=None if halving is None else halving.keep,
            groups=groups,
        )

    def labels(self, group: Group, trial: Trial, seed: int) -> Coords:
        """Return the labels of a trial's cell."""
        assert group.summary is not None
        return {**group.summary.coords, "seed": seed, "trial": str(trial.number)}


def apply_settings(raw: Raw, changes: Settings, where: str) -> Raw:
    """Return a copy of a raw cell with settings applied."""
    changed: Raw = _copied(raw)
    for key, value in changes.items():
        apply(changed, key, value, f"{where}: tune.space.{key}")
    return changed


def _copied(node: Any) -> Any:
    return {key: _copied(value) for key, value in node.items()} if isinstance(node, dict) else node


def _raws(point: Point, tune: Tune, changes: Settings, where: str) -> list[Raw]:
    found = []
    for seed in tune.seeds:
        raw, all_changes = trial_raw(point.raw, tune, changes, seed)
        found.append(apply_settings(raw, all_changes, where))
    return found


def _rule(grid: Grid) -> str:
    """Return which evaluation of a trial counts: as the grid reports, but never one that val chose where a holdout does."""
    assert grid.tune is not None
    if grid.tune.select.on == "holdout" and grid.select == "best":
        return "selected"
    return grid.select


def _is_seed(key: str) -> bool:
    return key.split(".")[0] in _SEEDS


def check_seeds(tune: Tune, cells: Iterable[Cell], where: str) -> None:
    """Refuse reported seeds that are among those of the trials.

    Raises:
        BenchError: with the seed.
    """
    for cell in cells:
        seeds = {cell.seeds.split, cell.seeds.init, cell.seeds.data} & set(tune.seeds)
        if seeds:
            raise BenchError(
                f"{where}: tune.seeds: {min(seeds)} is a reported seed too; settings must not be chosen on the runs that "
                "are reported"
            )
