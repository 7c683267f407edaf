"""What ``table`` prints: the table that its options ask for, or one row per run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.evaluations import as_options
from bench.cli.formats import RECORDED, Format, Select

if TYPE_CHECKING:
    from bench.report.model import Table
    from bench.report.records import Runs
    from bench.spec.sections import OtherEvaluation
    from bench.store.summary import Summary


@dataclass(frozen=True)
class Shape:
    """How a table is laid out.

    Attributes:
        rows, columns: axes; empty for the main table's.
        headline_only: show the headline rule alone.
    """

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    headline_only: bool = False


@dataclass(frozen=True)
class Source:
    """Which scores of the runs are shown, where not the mIoU of their own evaluation.

    Attributes:
        evaluation: another split or protocol.
        predictor: another network of the method.
        metric: another one than mIoU.
    """

    evaluation: OtherEvaluation | None = None
    predictor: str | None = None
    metric: str | None = None


def named(text: str | None) -> tuple[str, ...]:
    """Return the words of ``A,B``."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def restricted(summary: Summary, only: str | None) -> Summary:
    """Return a grid's summary with the cells that ``--only`` names.

    Raises:
        BenchError: if it names none.
    """
    if only is None:
        return summary
    from bench.cli.options import matching

    return summary.model_copy(update={"cells": matching(summary.cells, lambda cell: cell.coords, only)})


def made(
    store: Path,
    summary: Summary,
    select: Select | None,
    per_class: bool,
    compare: tuple[str, str] | None,
    source: Source,
    margin: float | None,
    aggregate: bool,
    shape: Shape,
) -> Table:
    """Return the table that is asked for."""
    from bench.report import pairs, records, tables

    rule, found = select.value if select else None, None
    own = records.load(store, summary.cells)
    runs, missing = _of_source(own, store, source, rule or summary.select)
    if source.metric not in RECORDED:
        from bench.report import by_metric

        runs, found = by_metric.scored(store, runs, source.metric, per_class)
    # Published figures are mIoU of the papers' predictor on the grid's own images.
    grid = summary if runs is own else summary.model_copy(update={"published": None})
    if compare:
        table = pairs.build(runs, grid, *compare, rule, margin)
    elif shape.rows or shape.columns:
        table = tables.pivot(runs, grid, rule, shape.rows, shape.columns)
    else:
        table = (tables.per_class if per_class else tables.build)(runs, grid, rule)
    if found is not None:
        table = by_metric.explained(table, found, papers=summary.published is not None)
    if summary.tuning is not None:
        from bench.report.tuning.tables import with_trials

        table = with_trials(table, store, summary, column=not (compare or per_class or shape.rows or shape.columns))
    if aggregate:
        from bench.report.overall import overall

        said, facts = overall(runs, table.rule.name)
        table = replace(table, notes=(*said, *table.notes), facts={**table.facts, **facts})
    return replace(table, warnings=(*table.warnings, *missing), headline_only=shape.headline_only)


def _of_source(runs: Runs, store: Path, source: Source, rule: str) -> tuple[Runs, list[str]]:
    """Return runs with the scores of what is asked for, and what to say of those that have none."""
    if source.evaluation is not None:
        from bench.report.evaluated import evaluated

        return evaluated(runs, store, source.evaluation, rule, as_options(source.evaluation))
    if source.predictor is not None:
        from bench.report.predicted import predicted

        return predicted(runs, store, source.predictor)
    return runs, []


def each_run(store: Path, summary: Summary, fmt: Format | None, metric: str | None, raw: bool) -> str:
    """Return one row per run, with every figure that was recorded, as CSV (the default; texts `raw` or not) or JSON."""
    from bench.errors import BenchError
    from bench.report import frame
    from bench.report.formats.spreadsheet import frame_csv

    if fmt not in (None, Format.CSV, Format.JSON):
        raise BenchError(f"--runs --format {fmt.value}: rows of runs are written as csv or json")
    runs = frame.load(store, [*summary.trials, *summary.cells])
    if summary.tuning is not None:
        from bench.report.tuning.frame import with_trials

        runs = with_trials(runs, store, summary)
    if metric not in RECORDED:
        from bench.report import by_metric

        runs = runs.join(by_metric.columns(store, runs, metric))
    if fmt is Format.JSON:
        return f"{runs.to_json(orient='records', indent=1)}\n"
    return frame_csv(runs, raw)
