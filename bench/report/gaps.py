"""How far a run's best evaluation lies above its last: what choosing a checkpoint on the reported images adds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.report.model import Section, Table, TableCell

LABEL = "best − last"


def gaps(cell: TableCell) -> list[float]:
    """Return best − last of each run that is done, in what the table scores."""
    pairs = zip(cell.stats["best"].values, cell.stats["last"].values, strict=True)
    return [best - last for best, last in pairs if best is not None and last is not None]


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _with_gap(cell: TableCell, headline: str, line: bool) -> TableCell:
    found = gaps(cell)
    if not found:
        return cell
    mean = statistics.fmean(found)
    facts = {**cell.facts, "gap_mean": mean, "gap_max": max(found)}
    stat = cell.stats[headline]
    if line:
        stat = replace(stat, below={**stat.below, LABEL: _signed(mean)})
    return replace(cell, facts=facts, stats={**cell.stats, headline: stat})


def _note(found: Sequence[float], score: str) -> str:
    runs = "1 run" if len(found) == 1 else f"{len(found)} runs"
    middle, most = statistics.median(found), max(found)
    what = f"{LABEL}, what choosing the checkpoint on the reported images adds"
    return f"Gap ({what}): median {middle:.1f}, at most {most:.1f} {score} ({runs})."


def with_gaps(table: Table, lines: bool, score: str) -> Table:
    """Return a table of `score` with the gap of its cells: for programs, in a note, and with `lines` below each score."""

    def section(found: Section) -> Section:
        rows = (
            replace(row, cells=tuple(_with_gap(cell, table.rule.name, lines) for cell in row.cells))
            for row in found.rows
        )
        return replace(found, rows=tuple(rows))

    every = [gap for found in table.sections for row in found.rows for cell in row.cells for gap in gaps(cell)]
    more = (_note(every, score),) if every else ()
    return replace(table, sections=tuple(map(section, table.sections)), notes=(*table.notes, *more))
