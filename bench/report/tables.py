"""Tables of a grid: mIoU by label budget, and IoU per class. Both work on a half-finished grid."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bench.errors import BenchError, unknown
from bench.report import differences, notes, variance
from bench.report.gaps import with_gaps
from bench.report.headline import RULES, rule
from bench.report.model import Column, Row, RunScore, Section, Table, TableCell, best, cell
from bench.report.records import Record, Runs, group, is_seed, pick, varying
from bench.report.rows import one_line
from bench.store.summary import Summary

Keys = tuple[str, ...]
Item = tuple[Keys, Keys, RunScore]  # (row, column, run)
Mark = Callable[[list[list[TableCell]]], list[list[TableCell]]]

_SECTION = ("dataset", "network")
_BUDGET = ("protocol", "labels")


def _marked(cells: Sequence[TableCell]) -> list[TableCell]:
    """Return the cells, which are rivals of each other, with the best under each rule in bold."""
    flags = {name: best(cells, name) for name in RULES}
    return [
        replace(rival, stats={name: replace(value, bold=flags[name][i]) for name, value in rival.stats.items()})
        for i, rival in enumerate(cells)
    ]


def _mark_rows(grid: list[list[TableCell]]) -> list[list[TableCell]]:
    return [_marked(row) for row in grid]


def _mark_columns(grid: list[list[TableCell]]) -> list[list[TableCell]]:
    columns = [_marked(column) for column in zip(*grid, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _section(
    title: str,
    keys: Mapping[str, str],
    row_axes: Keys,
    columns: Mapping[Keys, Column],
    items: Sequence[Item],
    mark: Mark,
) -> Section:
    runs = {place: [run for *_, run in found] for place, found in group(items, lambda item: item[:2]).items()}
    rows = list(dict.fromkeys(row for row, *_ in items))
    cells = mark([[cell(runs.get((row, column), [])) for column in columns] for row in rows])
    body = tuple(Row(dict(zip(row_axes, row, strict=True)), tuple(line)) for row, line in zip(rows, cells, strict=True))
    return Section(title, keys, row_axes, tuple(columns.values()), body)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _budgets(records: Sequence[Record]) -> dict[Keys, Column]:
    """Return the columns of a budget table, e.g. `1/4 (92 images)`; with the protocol's name where there are several."""
    several = bool(varying(records, ["protocol"]))
    columns: dict[Keys, Column] = {}
    for (protocol, labels), found in group(records, lambda record: pick(record, _BUDGET)).items():
        images = _mean(record.labelled_images for record in found)
        pixels = _mean(record.labelled_pixels for record in found)
        count = "" if images is None else f"{images:.0f}"
        title = f"{protocol} {labels}" if several and protocol != labels else labels
        title += f" ({count} images)" if count not in ("", labels) else ""
        keys = {"protocol": protocol, "labels": labels, "labelled_images": count}
        columns[protocol, labels] = Column(keys, title, images, pixels)
    return columns


def _by_budget(records: Sequence[Record], place: Mapping[str, str], row_axes: Keys, runs: Runs) -> Section:
    items = [(pick(record, row_axes), pick(record, _BUDGET), record.run) for record in records]
    protocols = ", ".join(dict.fromkeys(str(record.coords["protocol"]) for record in records))
    title = f"{notes.name(place)}: {runs.named} in % by label budget ({protocols})"
    return _section(title, place, row_axes, _budgets(records), items, _mark_columns)


def _class_items(record: Record, classes: Sequence[str], column: Keys, score: str) -> Iterator[Item]:
    run = record.run
    names = [one_line(name) for name in json.loads(record.classes or "[]")]
    found = {rule: dict(zip(names, json.loads(text or "[]"), strict=True)) for rule, text in record.iou.items()}
    for name in classes:
        yield (name,), column, replace(run, values={rule: values.get(name) for rule, values in found.items()})
    yield (score,), column, run


def _by_class(records: Sequence[Record], place: Mapping[str, str], column_axes: Keys, runs: Runs) -> Section:
    lists = dict.fromkeys(record.classes for record in records if record.classes)
    classes = list(dict.fromkeys(one_line(name) for text in lists for name in json.loads(text)))
    keys = dict.fromkeys(pick(record, column_axes) for record in records)
    columns = {key: Column(dict(zip(column_axes, key, strict=True)), ", ".join(key)) for key in keys}
    items = [
        item for record in records for item in _class_items(record, classes, pick(record, column_axes), runs.named)
    ]
    title = f"{notes.name(place)}: {runs.score.removeprefix('mean ').replace('mIoU', 'IoU')} in % per class"
    return _section(title, place, ("class",), columns, items, _mark_rows)


def _gaps(sections: Sequence[Section]) -> list[str]:
    cells = (found for section in sections for row in section.rows for found in row.cells)
    return ["Empty: not in the grid."] if any(not found.planned for found in cells) else []


Layout = Callable[[Sequence[Record], Mapping[str, str], Keys, Runs], Section]


def _table(runs: Runs, grid: Summary, select: str | None, layout: Layout, section_axes: Keys, bold: str) -> Table:
    headline, records = rule(grid, select), runs.records
    free = [axis for axis in runs.axes if axis not in (*_SECTION, *_BUDGET, "method") and not is_seed(axis)]
    vary = varying(records, free)
    sections = []
    for key, found in group(records, lambda record: pick(record, section_axes)).items():
        inner = varying(found, free)
        fixed = {axis: str(found[0].coords[axis]) for axis in vary if axis not in inner}
        place = {**dict(zip(section_axes, key, strict=True)), **fixed}
        sections.append(layout(found, place, ("method", *inner), runs))
    return Table(
        name=grid.name,
        title=one_line(grid.title or grid.name),
        rule=headline,
        done=sum(record.run.state == "done" for record in records),
        planned=len(records),
        sections=tuple(sections),
        warnings=(*notes.warnings(records, runs.axes), *differences.warnings(records, runs.axes)),
        notes=(
            *notes.notes(records, headline, bold),
            *notes.absent(grid),
            *notes.deviations(grid),
            *variance.lines(runs, headline.name),
            *_gaps(sections),
        ),
        unfinished=tuple(notes.unfinished(records, runs.axes)),
        facts={"deviations": [entry.model_dump() for entry in grid.deviations]} if grid.deviations else {},
    )


def build(runs: Runs, grid: Summary, select: str | None = None) -> Table:
    """Return the grid's main table: mean ± sample sd of the mIoU, rows methods, columns label budgets.

    There is one section per dataset and network. Any other axis that varies, but the seed, is part of the row.

    Where the grid names papers, their figures stand below the measured ones, with a verdict and with how far the best
    evaluation of the runs lies above the last; elsewhere a note tells the latter.

    Args:
        runs: from :func:`bench.report.records.load`, all or some of a grid's.
        grid: the grid's summary.
        select: overrides the grid's selection rule; the table then says so.

    Raises:
        BenchError: if there is no such selection rule, or a paper's file is missing or wrong.
    """
    made = with_gaps(budgets(runs, grid, select), grid.published is not None, runs.named)
    if grid.published is None:
        return made
    from bench.report.papers.notes import annotated

    return annotated(made, grid, runs)


def budgets(runs: Runs, grid: Summary, select: str | None = None, bold: str = "column") -> Table:
    """Return the table of :func:`build`, without anything published."""
    return _table(runs, grid, select, _by_budget, _SECTION, bold)


def per_class(runs: Runs, grid: Summary, select: str | None = None) -> Table:
    """Return the IoU of each class: rows classes and their mean, columns methods, one section per label budget.

    A class that occurs neither in the ground truth nor in the prediction of a run is left out of that run, so a cell's
    n can be smaller than the number of runs that are done. Arguments and errors are those of :func:`build`.
    """
    return _table(runs, grid, select, _by_class, (*_SECTION, *_BUDGET), "row")


def pivot(
    runs: Runs,
    grid: Summary,
    select: str | None,
    rows: Sequence[str],
    columns: Sequence[str],
    options: tuple[str, str] = ("--rows", "--columns"),
) -> Table:
    """Return the scores with any axes as rows and columns: a section for each combination of the others, but seeds.

    Args:
        runs, grid, select: those of :func:`build`.
        rows, columns: axes by their keys, or by the last word of one; an empty one is `method`, or `labels`.
        options: what messages call them.

    Raises:
        BenchError: if there is no such axis, or it is both; and what :func:`build` raises.
    """
    down = _axes(rows or ["method"], runs, options[0])
    across = _axes(columns or ["labels"], runs, options[1])
    if both := set(down) & set(across) - {"protocol"}:
        raise BenchError(f"{', '.join(options)}: {', '.join(both)} is named for both")
    used = {*down, *across, *(_BUDGET if "labels" in (*down, *across) else ())}
    others = varying(runs.records, [axis for axis in runs.axes if axis not in used and not is_seed(axis)])

    def layout(records: Sequence[Record], place: Mapping[str, str], _: Keys, runs: Runs) -> Section:
        named = {axis: value for axis, value in place.items() if axis not in used}
        items = [(pick(record, down), pick(record, across), record.run) for record in records]
        return _section(
            f"{notes.name(named)}: {runs.named} in % by {'label budget' if across == _BUDGET else ', '.join(across)}",
            named,
            down,
            _budgets(records) if across == _BUDGET else _columns(across, [key for _, key, _ in items]),
            items,
            _mark_columns,
        )

    section_axes = tuple(dict.fromkeys([*(axis for axis in _SECTION if axis not in used), *others]))
    return _table(runs, grid, select, layout, section_axes, "column")


def _axes(wanted: Sequence[str], runs: Runs, option: str) -> Keys:
    """Return the axes that are meant; a label budget is also its protocol."""
    found = list[str]()
    for name in wanted:
        meant = [axis for axis in runs.axes if axis == name] or [
            axis for axis in runs.axes if axis.rpartition(".")[2] == name
        ]
        if len(meant) != 1:
            raise unknown(f"axis of {option}", name, runs.axes)
        found += _BUDGET if meant[0] == "labels" else meant
    return tuple(dict.fromkeys(found))


def _columns(axes: Keys, keys: Iterable[Keys]) -> dict[Keys, Column]:
    places = {key: dict(zip(axes, key, strict=True)) for key in dict.fromkeys(keys)}
    return {key: Column(place, notes.name(place) or ", ".join(key)) for key, place in places.items()}
