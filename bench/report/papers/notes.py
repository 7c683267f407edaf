"""The lines below a table with published figures: sources, verdicts, what differs, rank agreement, splits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypedDict

from bench.report import notes
from bench.report.model import Table
from bench.report.papers import families
from bench.report.papers.equivalence import LEVEL
from bench.report.papers.published import Paper
from bench.report.papers.verdicts import OTHER_PROTOCOL, OTHER_RECIPE, VERDICTS, ComparedCell, beside
from bench.report.records import Runs, group
from bench.store.summary import Summary

LEAST_METHODS = 3
_MANY = 3  # repositories of a list that are named


def _rule(margin: float) -> str:
    return (
        "Verdict: the runs under the figure's own selection rule, under the headline rule where that is unknown. "
        f"'reproduced': measured − published is shown to be within ±{margin:g} mIoU (two one-sided t tests, {LEVEL:.0%} "
        f"each); 'differs': not so, and its {1 - LEVEL:.0%} interval excludes 0; 'not settled': neither, as with any single "
        "run. A figure whose sd and number of runs aren't both printed counts as exact."
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


def _verdicts(entries: Sequence[ComparedCell]) -> Iterator[str]:
    counts = Counter(entry.verdict.name for entry in entries)
    yield "Cells: " + ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name]) + "."
    lone = [e for e in entries if e.verdict.comparison is not None and e.verdict.comparison.p is None]
    if lone:
        yield f"{'1 cell has' if len(lone) == 1 else f'{len(lone)} cells have'} a single run, which can't settle anything."


def _selection(entries: Sequence[ComparedCell], rule: str) -> Iterator[str]:
    """Yield how published figures were selected, beside how often these runs are evaluated."""
    figures = [entry for entry in entries if entry.place.figure is not None]
    counts = Counter(e.place.figure.selected for e in figures if e.place.figure is not None)
    if not counts:
        return
    ours = sorted({e.place.evaluations for e in figures if e.place.evaluations is not None})
    times = f"; runs of this grid are evaluated {' or '.join(map(str, ours))} times" if ours else ""
    yield (
        "Selection of the published figures: " + ", ".join(f"{n} {words}" for words, n in counts.items()) + f"{times}."
    )
    if unknown := counts["unknown"]:
        yield (
            f"Selection unknown for {unknown} of {len(figures)} published figures: compared under '{rule}'. Papers of this "
            "field mostly print the best evaluation on the test images."
        )
    if silent := sum(not e.place.figure.recipe for e in figures if e.place.figure is not None):
        yield (
            f"Learning rate, batch, augmentation and losses unknown for {silent} of {len(figures)} published figures: what "
            "a source doesn't say is not compared."
        )


def _differences(entries: Sequence[ComparedCell], sections: int) -> Iterator[str]:
    differing = [e for e in entries if e.verdict.name in (OTHER_PROTOCOL, OTHER_RECIPE)]
    said = {
        "Protocol": group(differing, lambda entry: "; ".join(entry.place.protocol)),
        "Recipe": group(differing, lambda entry: "; ".join(entry.place.recipe)),
    }
    for title, by_words in said.items():
        for words, found in by_words.items():
            if words:
                every = len(found) == len(entries)
                yield f"{title} differs ({words}): " + ("all cells." if every else _listed(found, sections))


def _listed(entries: Sequence[ComparedCell], sections: int) -> str:
    return "; ".join(_where(entry, sections) for entry in entries) + "."


def _others(entries: Sequence[ComparedCell], sections: int) -> Iterator[str]:
    for entry in entries:
        if entry.place.others:
            found = ", ".join(f.cited for f in entry.place.others)
            figure = entry.place.figure
            assert figure is not None
            yield f"{_where(entry, sections)}: compared with {figure.text} ({figure.paper}); also published: {found}."


class Agreement(TypedDict):
    """How well the measured ranking of a column agrees with the published one.

    `methods` is the number of methods that have both scores; `kendall_tau_b` is None below :data:`LEAST_METHODS` of them
    or where all tie; `protocol_differs` tells whether the protocol or the recipe of one of them does.
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
        measured = [e.cell.stats[e.verdict.rule].mean or 0.0 for e in both]
        published = [e.place.figure.miou for e in both if e.place.figure is not None]
        found.append(
            {
                "section": section,
                "column": column,
                "methods": len(both),
                "kendall_tau_b": kendall(measured, published) if len(both) >= LEAST_METHODS else None,
                "protocol_differs": any(e.place.protocol or e.place.recipe for e in both),
            }
        )
    return found


def _tau(line: Agreement) -> str:
    methods = "1 method" if line["methods"] == 1 else f"{line['methods']} methods"
    if line["methods"] < LEAST_METHODS:
        return f"{line['column']}: not meaningful ({methods})"
    other = ", protocol or recipe differs" if line["protocol_differs"] else ""
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


def _families(entries: Sequence[ComparedCell]) -> Iterator[str]:
    """Yield whose lists the labelled images are, where any repository has them, and which others there are of their size."""
    by_hash = families.known().values()
    for column, cells in group(entries, lambda entry: entry.column.title).items():
        names = {name for e in cells if e.place.family for name in e.place.family.split(", ")}
        found = [f for f in by_hash if f.name in names and f.dataset == cells[0].section.keys.get("dataset")]
        images = {round(e.column.images) for e in cells if e.column.images}
        for family in found:
            if family.images in images:
                rest = [
                    f.name for f in by_hash if (f.dataset, f.images) == (family.dataset, family.images) and f != family
                ]
                other = f"; other lists of this size: {', '.join(rest)}" if rest else ""
                yield f"Labelled images of {column}: the list '{family.name}' of {_repositories(family)}{other}."


def _repositories(family: families.Family) -> str:
    names = family.repositories
    more = len(names) - _MANY
    return ", ".join(names[:_MANY]) + (f" and {more} more" if more > 0 else "")


def annotated(table: Table, grid: Summary, runs: Runs) -> Table:
    """Return a grid's main table with published figures beside measured ones, and all there is to say of them below.

    Raises:
        BenchError: if a paper that the grid names isn't there, or its file is wrong.
    """
    made, entries, papers = beside(table, grid, runs)
    assert grid.published is not None
    rule, sections = table.rule.name, len(table.sections)
    ranks = agreement(entries, rule)
    below = [
        *_sources(papers),
        _rule(grid.published.margin),
        *_verdicts(entries),
        *_selection(entries, rule),
        *_differences(entries, sections),
        *_others(entries, sections),
        *_agreement(ranks),
        *_splits(entries),
        *_families(entries),
    ]
    if not grid.deviations:
        below.append("Recipe: no run deviates from the grid's.")
    return replace(made, notes=(*made.notes, *below), facts={**made.facts, "agreement": ranks})
