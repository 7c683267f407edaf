"""The lines below a table with published figures: sources, verdicts, what differs, rank agreement, splits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypedDict

from bench.report import notes
from bench.report.model import Table
from bench.report.papers.published import Paper
from bench.report.papers.verdicts import OTHER_PROTOCOL, TOLERANCE, VERDICTS, ComparedCell, beside
from bench.report.records import group
from bench.store.summary import Summary

LEAST_METHODS = 3
_RULE = (
    f"Verdict: 'reproduced' where measured − published is at most 2 sd of the runs or {TOLERANCE:.1f} mIoU, whichever is "
    f"larger, else 'differs'; with one run there is no sd, so only the {TOLERANCE:.1f} mIoU counts."
)


def _sources(papers: Sequence[Paper]) -> Iterator[str]:
    titles = "; ".join(f"{paper.key}: {paper.title}" for paper in papers if paper.figures)
    yield (
        "Published: the figure as printed, in brackets the number of runs where known, and where from: authors (of the "
        f"paper or repository that ran it), reprint, or summary. {titles}."
    )
    for paper in papers:
        if not paper.figures:
            yield f"Not published: {paper.title}" + (f": {paper.note}." if paper.note else ".")


def _where(entry: ComparedCell, sections: int) -> str:
    section = entry.section.keys if sections > 1 else {}
    keys = ("protocol", "labels") if len({c.keys["protocol"] for c in entry.section.columns}) > 1 else ("labels",)
    return notes.name({**section, **entry.row.keys, **{key: entry.column.keys[key] for key in keys}})


def _verdicts(entries: Sequence[ComparedCell], rule: str) -> Iterator[str]:
    counts = Counter(entry.cell.stats[rule].facts["verdict"] for entry in entries)
    yield "Cells: " + ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name]) + "."
    lone = [e for e in entries if e.cell.stats[rule].n == 1 and e.cell.stats[rule].facts["difference"] is not None]
    if lone:
        cells = "1 cell rests" if len(lone) == 1 else f"{len(lone)} cells rest"
        yield f"{cells} on a single run: the {TOLERANCE:.1f} mIoU alone decided."


def _differences(entries: Sequence[ComparedCell], rule: str, sections: int) -> Iterator[str]:
    differing = [e for e in entries if e.cell.stats[rule].facts["verdict"] == OTHER_PROTOCOL]
    for words, found in group(differing, lambda entry: "; ".join(entry.place.differences)).items():
        every = len(found) == len(entries)
        yield f"Protocol differs ({words}): " + ("all cells." if every else _listed(found, sections))


def _listed(entries: Sequence[ComparedCell], sections: int) -> str:
    return "; ".join(_where(entry, sections) for entry in entries) + "."


def _others(entries: Sequence[ComparedCell], sections: int) -> Iterator[str]:
    for entry in entries:
        if entry.place.others:
            found = ", ".join(f"{f.text} ({f.paper}, {f.provenance})" for f in entry.place.others)
            figure = entry.place.figure
            assert figure is not None
            yield f"{_where(entry, sections)}: compared with {figure.text} ({figure.paper}); also published: {found}."


class Agreement(TypedDict):
    """How well the measured ranking of a column agrees with the published one.

    `methods` is the number of methods that have both scores; `kendall_tau_b` is None below :data:`LEAST_METHODS` of them
    or where all tie; `protocol_differs` tells whether the protocol of one of them does.
    """

    section: str
    column: str
    methods: int
    kendall_tau_b: float | None
    protocol_differs: bool


def kendall(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Kendall's τ-b of two lists of equal length, from -1 to 1; None where one of them has no order at all."""
    from scipy.stats import kendalltau  # half a second, which only tables with published figures pay

    tau = float(kendalltau(one, other).statistic) if len(one) > 1 else math.nan
    return None if math.isnan(tau) else tau


def agreement(entries: Sequence[ComparedCell], rule: str) -> list[Agreement]:
    """Return the rank agreement of each column."""
    found: list[Agreement] = []
    for (section, column), cells in group(entries, lambda e: (e.section.title, e.column.title)).items():
        both = [e for e in cells if e.place.figure is not None and e.cell.stats[rule].mean is not None]
        measured = [e.cell.stats[rule].mean or 0.0 for e in both]
        published = [e.place.figure.miou for e in both if e.place.figure is not None]
        found.append(
            {
                "section": section,
                "column": column,
                "methods": len(both),
                "kendall_tau_b": kendall(measured, published) if len(both) >= LEAST_METHODS else None,
                "protocol_differs": any(e.place.differences for e in both),
            }
        )
    return found


def _tau(line: Agreement) -> str:
    methods = "1 method" if line["methods"] == 1 else f"{line['methods']} methods"
    if line["methods"] < LEAST_METHODS:
        return f"{line['column']}: not meaningful ({methods})"
    other = f", {OTHER_PROTOCOL}" if line["protocol_differs"] else ""
    tau = "undefined, all tie" if line["kendall_tau_b"] is None else f"{line['kendall_tau_b']:.2f}".replace("-", "−")
    return f"{line['column']}: {tau} ({methods}{other})"


def _agreement(lines: Sequence[Agreement]) -> Iterator[str]:
    by_section = group(lines, lambda line: line["section"])
    for section, found in by_section.items():
        where = f", {section.partition(':')[0]}" if len(by_section) > 1 else ""
        yield f"Rank agreement with the papers (Kendall τ-b){where}: " + "; ".join(map(_tau, found)) + "."


def _splits(entries: Sequence[ComparedCell]) -> Iterator[str]:
    """Yield the splits' hashes per section: column, seed, first eight digits."""
    by_section = group(entries, lambda entry: entry.section.title)
    for section, found in by_section.items():
        where = f", {section.partition(':')[0]}" if len(by_section) > 1 else ""
        columns = [
            f"{column}: {text}"
            for column, cells in group(found, lambda entry: entry.column.title).items()
            if (text := _hashes(cells))
        ]
        if columns:
            yield f"Splits (SHA-256){where}: " + "; ".join(columns) + "."


def _hashes(entries: Sequence[ComparedCell]) -> str:
    seeds = group([run for entry in entries for run in entry.cell.done], lambda run: run.seed)
    hashes = {seed: "/".join(sorted({run.split[:8] for run in runs})) for seed, runs in sorted(seeds.items())}
    if len(hashes) > 1 and len(set(hashes.values())) == 1:
        return f"{next(iter(hashes.values()))} (every seed)"
    return ", ".join(f"{found} (seed {seed})" for seed, found in hashes.items())


def annotated(table: Table, grid: Summary) -> Table:
    """Return a grid's main table with published figures beside measured ones, and all there is to say of them below.

    Raises:
        BenchError: if a paper that the grid names isn't there, or its file is wrong.
    """
    made, entries, papers = beside(table, grid)
    rule, sections = table.rule.name, len(table.sections)
    ranks = agreement(entries, rule)
    below = [
        *_sources(papers),
        _RULE,
        *_verdicts(entries, rule),
        *_differences(entries, rule, sections),
        *_others(entries, sections),
        *_agreement(ranks),
        *_splits(entries),
    ]
    if not grid.deviations:
        below.append("Recipe: no run deviates from the grid's.")
    return replace(made, notes=(*made.notes, *below), facts={**made.facts, "agreement": ranks})
