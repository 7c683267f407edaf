"""The trials behind each setting of a tuned grid, with their scores and hours, as the store has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import read_json, read_jsonl
from bench.report.statistics.images import Parts, interval
from bench.report.statistics.paired import Interval
from bench.spec.cell import canonical
from bench.store.confusion import read_confusion
from bench.store.run import Run
from bench.store.summary import Summary, TrialSummary, TunedGroup, Tuning
from bench.store.trials import DIVERGED, Outcome, Standing, outcome


@dataclass(frozen=True)
class Searched:
    """One method and protocol of a tuned grid.

    Attributes:
        group: its trials.
        found: how they stand.
        name: its method, and the other labels in which the grid's groups differ.
        hours: of all trials, and of the reported runs, over all attempts that ended; 0 where nothing is recorded.
    """

    group: TunedGroup
    found: Outcome
    name: str
    hours: tuple[float, float]

    @property
    def distinct(self) -> int:
        """Number of different settings among the trials."""
        return len({canonical(trial.settings) for trial in self.group.trials})

    @property
    def chosen(self) -> TrialSummary | None:
        """The trial whose setting was taken."""
        return None if self.found.chosen is None else self.group.trials[self.found.chosen]

    @property
    def budget(self) -> str:
        """The trials behind the choice, in words: `8`, `6 of 8`, `8 (1 setting)`."""
        planned, compared = len(self.group.trials), self.found.compared
        text = str(planned) if compared == planned else f"{compared} of {planned}"
        return text if self.distinct == planned else f"{text} ({self.distinct} setting{'s' * (self.distinct > 1)})"

    def facts(self) -> dict[str, Any]:
        """Return what is known, as JSON types."""
        chosen = self.chosen
        return {
            "coords": dict(self.group.coords),
            "trials": len(self.group.trials),
            "compared": self.found.compared,
            "distinct_settings": self.distinct,
            "chosen_trial": None if chosen is None else chosen.number,
            "settings": None if chosen is None else chosen.settings,
            "rungs": list(self.group.steps),
            "scores": [
                {
                    "trial": one.number,
                    "settings": trial.settings,
                    "scores": [None if score == DIVERGED else score for score in one.scores],
                    "state": stated(one, self.group),
                }
                for one, trial in zip(self.found.standings, self.group.trials, strict=True)
            ],
            "tuning_hours": self.hours[0],
            "reported_hours": self.hours[1],
        }


def searched(store: Path, summary: Summary) -> list[Searched]:
    """Return how each setting of a grid was chosen; nothing for a grid that isn't tuned."""
    tuning = summary.tuning
    if tuning is None:
        return []
    found, names = [], _names([group.coords for group in tuning.groups])
    for group, name in zip(tuning.groups, names, strict=True):
        trials = _hours(store, dict.fromkeys(cell for trial in group.trials for cell in trial.cells))
        found.append(Searched(group, outcome(store, tuning, group), name, (trials, _hours(store, group.reported))))
    return found


def _names(every: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what tells groups apart: the method, and other labels in which they differ."""
    keys = [key for key in every[0] if key == "method" or len({coords.get(key) for coords in every}) > 1]
    return [", ".join(coords[key] for key in ("method", *(k for k in keys if k != "method"))) for coords in every]


def _hours(store: Path, cells: Sequence[str] | Mapping[str, object]) -> float:
    """Return the hours of training and evaluation of some runs: of finished ones, and of trials up to their rung."""
    total = 0.0
    for cell in cells:
        try:
            cost: Any = read_json(Run(store / cell).cost)
            total += float(cost["seconds"])
        except (KeyError, TypeError, ValueError, OSError):
            total += _of_stopped(Run(store / cell))
    return total / 3600


def _of_stopped(run: Run) -> float:
    """Return the seconds that a trial took up to its rung, from its timing: what a step took, times steps."""
    try:
        rows = [row for row in read_jsonl(run.timing) if isinstance(row, dict)]
        steps = [0, *(int(row["step"]) for row in rows)]
        return sum((b - a) * float(row["seconds_per_step"]) for a, b, row in zip(steps, steps[1:], rows, strict=False))
    except (KeyError, TypeError, ValueError, OSError):
        return 0.0


def stated(one: Standing, group: TunedGroup) -> str:
    """Return in words where a trial is."""
    if one.left_out:
        return "left out"
    if DIVERGED in one.scores:
        return "diverged"
    if one.stopped is not None:
        return f"stopped at step {group.steps[one.stopped]}"
    return "done" if one.final is not None else "open"


def said_settings(trial: TrialSummary) -> str:
    """Return a trial's settings in words."""
    if not trial.settings:
        return "as written"
    return ", ".join(f"{key.removeprefix('method.')} {_value(value)}" for key, value in trial.settings.items())


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def images_said(tuning: Tuning) -> str:
    """Return on which images settings were chosen."""
    if tuning.on == "holdout":
        return f"{tuning.images} images held out of the label budget"
    return "the evaluated images themselves (val, as in the papers)"


# -- can the best two be told apart ----------------------------------------------------------------------------------------


def best_two(store: Path, tuning: Tuning, found: Searched) -> tuple[Standing, Standing, Interval] | None:
    """Return the best two trials that came to their end, and the interval of their difference over the held-out images.

    None where there are fewer than two of different settings, or their matrices per image weren't kept.
    """
    trials = {trial.number: trial for trial in found.group.trials}
    finished = [one for one in found.found.ranking() if one.final not in (None, DIVERGED)]
    if not finished or found.found.chosen is None:
        return None
    best = next(one for one in finished if one.number == found.found.chosen)
    others = [one for one in finished if trials[one.number].settings != trials[best.number].settings]
    if not others or tuning.on != "holdout":
        return None
    pairs = []
    for one, other in zip(trials[best.number].cells, trials[others[0].number].cells, strict=True):
        first, second = (_parts(store, cell, tuning.rule) for cell in (one, other))
        if first is None or second is None or first.hit.shape != second.hit.shape:
            return None
        pairs.append((first, second))
    return best, others[0], interval(pairs)


def _parts(store: Path, cell: str, rule: str) -> Parts | None:
    try:
        kept = read_confusion(Run(store / cell), f"holdout-{rule}")
    except BenchError:
        return None
    return None if kept is None else Parts.of(kept.images.matrices())
