"""The rule that turns a run into one score. A grid fixes it before it runs; `last` and `best` are always shown."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import unknown
from bench.store.summary import Summary

RULES: dict[str, str] = {
    "last": "the last evaluation, after the final iteration",
    "best": "the highest mIoU among all evaluations of the run, picked on the images that it is reported on",
    "selected": "the evaluation with the highest mIoU on images held out of the labelled ones",
}


@dataclass(frozen=True)
class Rule:
    """The headline rule: its name, one of :data:`RULES`, and the rule that the grid fixed, from which it may differ."""

    name: str
    grid: str

    @property
    def other(self) -> str:
        """The first rule that is not the headline."""
        return next(name for name in RULES if name != self.name)

    @property
    def words(self) -> str:
        """The rule and who chose it, in one sentence."""
        if self.name == self.grid:
            return f"Score: rule '{self.name}', fixed by the grid: {RULES[self.name]}."
        return f"Score: rule '{self.name}', by --select, overrides the grid's '{self.grid}': {RULES[self.name]}."


def rule(grid: Summary, select: str | None = None) -> Rule:
    """Return the headline rule: `select` where it is given, else the grid's own.

    Raises:
        BenchError: if there is no such rule.
    """
    chosen = Rule(select or grid.select, grid.select)
    for name in (chosen.name, chosen.grid):
        if name not in RULES:
            raise unknown("selection rule", name, RULES)
    return chosen
