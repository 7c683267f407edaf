"""A description of a grid, made and written: as Markdown, as LaTeX, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.errors import unknown
from bench.report import headline
from bench.report.description.checklist import checklist
from bench.report.description.compute import figures
from bench.report.description.gather import gather
from bench.report.description.model import UNKNOWN, Description, GridFacts
from bench.report.description.words import evaluations, passages, recipes
from bench.report.formats import latex_text, markdown
from bench.report.headline import Rule
from bench.store.summary import Summary

FORMATS = ("md", "latex", "json")
OPEN = "To be filled in by you:"


def describe(store: Path, summary: Summary, grid: str, sets: Sequence[str] = ()) -> Description:
    """Return the description of a grid, finished or not.

    Args:
        store: the run store.
        summary: of the grid.
        grid, sets: as they were given on the command line.

    Raises:
        BenchError: if the grid's selection rule isn't known.
    """
    facts, rule = gather(store, summary, grid, sets), headline.rule(summary)
    return Description(
        f"Reproducibility: {facts.title}",
        tuple(passages(facts, rule)),
        tuple(checklist(facts, rule)),
        facts.splits,
        _facts(facts, rule),
    )


def _facts(grid: GridFacts, rule: Rule) -> dict[str, Any]:
    """Return what passages say, as JSON types."""
    return {
        "grid": grid.name,
        "title": grid.title,
        "commands": list(grid.commands),
        "data": [{**asdict(found), "fingerprints": dict(found.fingerprints)} for found in grid.data],
        "splits": [asdict(split) for split in grid.splits],
        "recipe": {key: [json.loads(text) for text in found] for key, found in recipes(grid.runs).items()},
        "deviations": list(grid.deviations),
        "selection": {"rule": rule.name, "evaluations_per_run": evaluations(grid.runs)},
        **({"tuning": [one.facts() for one in grid.searched]} if grid.searched else {}),
        "planned": len(grid.runs),
        "done": len(grid.done),
        "not_done": [{"id": r.cell.id, "state": r.state, "status": r.status} for r in grid.runs if not r.done],
        "compute": figures(grid.runs),
        "software": {fact: dict(values) for fact, values in grid.software.items()},
    }


def render(found: Description, fmt: str) -> str:
    """Return a description as text in one of :data:`FORMATS`.

    Raises:
        BenchError: if there is no such format.
    """
    if fmt not in FORMATS:
        raise unknown("format of a description", fmt, FORMATS)
    return {"md": _markdown, "latex": _latex, "json": _json}[fmt](found)


def _rows(found: Description, digits: int) -> list[list[str]]:
    """Return the table of splits: its header, and a row per split."""
    rows = [["dataset", "labels", "seed", "labelled", "unlabelled", "SHA-256 of its ids"]]
    for split in found.splits:
        budget = split.labels if split.protocol in ("", split.labels) else f"{split.protocol} {split.labels}"
        counts = [UNKNOWN if count is None else f"{count:,}" for count in (split.labelled, split.unlabelled)]
        rows.append([split.dataset, budget, split.seed, *counts, split.sha256[:digits] or UNKNOWN])
    return rows


def _markdown(found: Description) -> str:
    text = markdown.escape
    lines = [f"## {text(found.title)}", ""]
    for passage in found.passages:
        lines += [f"**{text(passage.title)}.** {text(passage.text)}", ""]
    lines += ["### Label splits", ""]
    header, *rows = _rows(found, 64)
    lines += [f"| {' | '.join(header)} |", "| --- | --- | ---: | ---: | ---: | --- |"]
    lines += [f"| {' | '.join(map(text, row))} |" for row in rows]
    lines += ["", "### Checklist", ""]
    for place, item in enumerate(found.items, 1):
        rest = f" **{OPEN}** {text(item.open)}" if item.open else ""
        lines.append(f"{place}. *{text(item.question)}* {text(item.answer)}{rest}")
    return "\n".join(lines) + "\n"


def _latex(found: Description) -> str:
    text = latex_text.escape
    lines = [r"% Needs \usepackage{booktabs}.", rf"\section*{{{text(found.title)}}}"]
    lines += [rf"\paragraph{{{text(passage.title)}.}} {text(passage.text)}" for passage in found.passages]
    header, *rows = _rows(found, 16)
    lines += ["", r"\begin{table}", r"\centering", r"\caption{Label splits, with the first 16 digits of their hashes.}"]
    lines += [r"\begin{tabular}{llrrrl}", r"\toprule", f"{' & '.join(map(text, header))} \\\\", r"\midrule"]
    lines += [f"{' & '.join(map(text, row))} \\\\" for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", "", r"\paragraph{Checklist.}", r"\begin{enumerate}"]
    for item in found.items:
        rest = rf" \textbf{{{OPEN}}} {text(item.open)}" if item.open else ""
        lines.append(rf"\item \emph{{{text(item.question)}}} {text(item.answer)}{rest}")
    return "\n".join([*lines, r"\end{enumerate}", ""])


def _json(found: Description) -> str:
    facts = {
        **found.facts,
        "passages": {passage.title: passage.text for passage in found.passages},
        "checklist": [asdict(item) for item in found.items],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
