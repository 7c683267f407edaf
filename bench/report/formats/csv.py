"""A table as CSV, one line per cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from bench.report.formats.spreadsheet import as_text
from bench.report.formats.view import flat, plain, rounded
from bench.report.headline import RULES
from bench.report.model import Facts, Table, TableCell


def _facts(cell: TableCell, rules: Sequence[str]) -> Facts:
    facts = {name: plain(value) for name, value in cell.facts.items()}
    facts |= {f"{name}_{rule}": plain(v) for rule in rules for name, v in cell.stats[rule].facts.items()}
    return {name: "; ".join(map(str, v)) if isinstance(v, list) else v for name, v in facts.items()}


def render(table: Table, raw: bool = False) -> str:
    """Return the table as CSV, one line per cell, with all selection rules in columns.

    Args:
        table: the table.
        raw: leave texts as they are that a spreadsheet would take for formulas.
    """
    text: Callable[[Any], Any] = (lambda value: value) if raw else as_text
    rules = sorted(table.rules, key=list(RULES).index)
    cells = [entry for section in table.sections for entry in flat(section)]
    names = list(dict.fromkeys(name for keys, _ in cells for name in keys))
    numbers = [f"{part}_{rule}" for rule in rules for part in ("mean", "sd", "n")]
    facts = list(dict.fromkeys(name for _, cell in cells for name in _facts(cell, rules)))
    out = io.StringIO()
    header = [*names, "planned", "done", "rule", *numbers, *facts, "evaluation", "unfinished"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(text, header))
    for keys, cell in cells:
        line: Facts = {**keys, "planned": cell.planned, "done": len(cell.done), "rule": table.rule.name}
        for rule, stat in ((rule, cell.stats[rule]) for rule in rules):
            line |= {f"mean_{rule}": rounded(stat.mean), f"sd_{rule}": rounded(stat.sd), f"n_{rule}": stat.n}
        line |= _facts(cell, rules)
        line["evaluation"] = "; ".join(dict.fromkeys(run.evaluation for run in cell.done))
        line["unfinished"] = "; ".join(f"{count} {state}" for state, count in cell.states.items())
        writer.writerow([text(line.get(name, "")) for name in header])
    return out.getvalue()
