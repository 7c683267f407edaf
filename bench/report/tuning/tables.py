"""What a table says of the trials behind its rows: a column, the chosen settings, and rows with unequal budgets marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.report.description.compute import hours_text
from bench.report.model import Row, Section, Table
from bench.report.tuning.standing import Searched, best_two, images_said, said_settings, searched
from bench.store.summary import Summary, Tuning

COLUMN = "trials"


def with_trials(table: Table, store: Path, summary: Summary, column: bool = True) -> Table:
    """Return a table with the trials behind each row, and with notes on how settings were chosen.

    Args:
        table: of the grid's reported runs.
        store: the run store.
        summary: of the grid; the table stays as it is where it isn't tuned.
        column: False where rows aren't methods.
    """
    tuning, every = summary.tuning, searched(store, summary)
    if tuning is None:
        return table
    budgets = {one.budget for one in every}
    marked = table
    if column:
        marked = replace(table, sections=tuple(_section(found, every, tuning) for found in table.sections))
    warnings = [_unequal(every)] if len(budgets) > 1 else []
    if tuning.on != "holdout":
        warnings.append(
            "Settings were chosen on the evaluated images themselves, as in the papers: the figures flatter whoever tried "
            "more"
        )
    warnings += [line for one in every if (line := told_apart(store, tuning, one))]
    return replace(
        marked,
        warnings=(*table.warnings, *warnings),
        notes=(*table.notes, *_notes(every, tuning)),
        facts={**table.facts, "tuning": [one.facts() for one in every]},
    )


def _section(section: Section, every: Sequence[Searched], tuning: Tuning) -> Section:
    rows = tuple(_row(row, section, every, tuning) for row in section.rows)
    place = section.row_axes.index("method") + 1 if "method" in section.row_axes else len(section.row_axes)
    axes = (*section.row_axes[:place], COLUMN, *section.row_axes[place:])
    return replace(section, row_axes=axes, rows=rows)


def _row(row: Row, section: Section, every: Sequence[Searched], tuning: Tuning) -> Row:
    ids = {run.id for cell in row.cells for run in (*cell.done, *cell.others)}
    budgets = dict.fromkeys(one.budget for one in every if ids & set(one.group.reported))
    text = " / ".join(budgets) + (" on val" if tuning.on != "holdout" else "")
    keys = {axis: row.keys.get(axis, "") for axis in section.row_axes}
    return replace(row, keys={**keys, COLUMN: text})


def _unequal(every: Sequence[Searched]) -> str:
    said = ", ".join(f"{one.name} {one.budget}" for one in every)
    return f"Rows have different numbers of trials behind them ({said}): a difference may be one of effort"


def told_apart(store: Path, tuning: Tuning, found: Searched) -> str:
    """Return what is to be said where the held-out images don't tell the best two trials apart; "" where they do."""
    best = best_two(store, tuning, found)
    if best is None:
        return ""
    first, second, (low, high) = best
    if not low <= 0 <= high:
        return ""
    return (
        f"{found.name}: {tuning.images} held-out images are too few to tell trial {first.number} from trial {second.number} "
        f"(difference {low:+.1f} to {high:+.1f} mIoU, 95 %)"
    )


def _notes(every: Sequence[Searched], tuning: Tuning) -> list[str]:
    lines = [
        f"Settings: chosen for each row and column among its trials, on {images_said(tuning)}; trial 0 is the recipe as "
        f"written; evaluation '{tuning.rule}' of each trial counts; ties go to the earlier trial."
    ]
    for one in every:
        if one.chosen is not None:
            lines.append(f"Chosen for {one.name}: {said_settings(one.chosen)} (trial {one.chosen.number}).")
    trials, reported = (sum(one.hours[side] for one in every) for side in (0, 1))
    said = f"{hours_text(trials)} for trials, {hours_text(reported)} for these runs"
    lines.append(f"Hours of training and evaluation: {said}.")
    return lines
