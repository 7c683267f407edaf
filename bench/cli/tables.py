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


@dataclass(frozen=True)
class Kind:
    """Which table is asked for; see the options of ``table``.

    Attributes:
        per_class: classes instead of the mean.
        compare: two methods instead of all.
        margin: what counts as no difference between them.
        aggregate: also the methods over all columns.
        each: one row per run.
    """

    per_class: bool = False
    compare: tuple[str, str] | None = None
    margin: float | None = None
    aggregate: bool = False
    each: bool = False

    def check(self, source: Source, shaped: bool) -> None:
        """Refuse options that contradict each other; `shaped`: rows or columns are chosen.

        Raises:
            BenchError: with the options, and what to do.
        """
        from bench.errors import BenchError

        asked = source.evaluation
        if sum([self.per_class, bool(self.compare), self.each]) > 1:
            raise BenchError("--per-class, --compare and --runs: give one of them")
        if self.aggregate and (self.per_class or self.compare or self.each):
            raise BenchError("--aggregate: is for the main table; leave --per-class, --compare and --runs out")
        if self.margin is not None and not self.margin <= 100.0:
            raise BenchError(f"--margin {self.margin:g}: a difference in mIoU, at most 100")
        if self.margin is not None and not self.compare:
            raise BenchError(f"--margin {self.margin:g}: is for --compare A B")
        if self.each and asked is not None:
            raise BenchError(
                f"--runs {as_options(asked)}: rows of runs hold their own evaluation; leave one of them out"
            )
        if source.metric not in RECORDED and asked is not None:
            said = f"--metric {source.metric} {as_options(asked)}"
            raise BenchError(f"{said}: matrices are kept of a run's own evaluation only")
        if source.predictor is not None and (self.each or asked is not None or source.metric not in RECORDED):
            why = "only the mIoU of a run's own evaluation is kept of it; leave --runs, --metric, --split … out"
            raise BenchError(f"--predictor {source.predictor}: {why}")
        if shaped and (self.per_class or self.compare or self.each or self.aggregate):
            raise BenchError(
                "--rows, --columns: are for the main table; leave --per-class, --compare, --runs, --aggregate out"
            )


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
    kind: Kind,
    source: Source,
    shape: Shape,
) -> Table:
    """Return the table that is asked for."""
    from bench.report import pairs, records, tables

    rule, found = select.value if select else None, None
    own = records.load(store, summary.cells)
    runs, missing = _of_source(own, store, source, rule or summary.select)
    if source.metric not in RECORDED:
        from bench.report import by_metric

        runs, found = by_metric.scored(store, runs, source.metric, kind.per_class)
    # Published figures are mIoU of the papers' predictor on the grid's own images.
    grid = summary if runs is own else summary.model_copy(update={"published": None})
    if kind.compare:
        table = pairs.build(runs, grid, *kind.compare, rule, kind.margin)
    elif shape.rows or shape.columns:
        table = tables.pivot(runs, grid, rule, shape.rows, shape.columns)
    else:
        table = (tables.per_class if kind.per_class else tables.build)(runs, grid, rule)
    if found is not None:
        table = by_metric.explained(table, found, papers=summary.published is not None)
    if summary.tuning is not None:
        from bench.report.tuning.tables import with_trials

        other = kind.compare or kind.per_class or shape.rows or shape.columns
        table = with_trials(table, store, summary, column=not other)
    if kind.aggregate:
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
