"""A table as CSV, one line per cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from bench.report.formats.view import flat, plain, rounded
from bench.report.headline import RULES
from bench.report.model import Facts, Table, TableCell


def _facts(cell: TableCell, rules: Sequence[str]) -> Facts:
    facts = {name: plain(value) for name, value in cell.facts.items()}
    facts |= {f"{name}_{rule}": plain(v) for rule in rules for name, v in cell.stats[rule].facts.items()}
    return {name: "; ".join(map(str, v)) if isinstance(v, list) else v for name, v in facts.items()}


def render(table: Table) -> str:
    """Return the table as CSV, one line per cell, with all selection rules in columns."""
    rules = sorted(table.rules, key=list(RULES).index)
    cells = [entry for section in table.sections for entry in flat(section)]
    names = list(dict.fromkeys(name for keys, _ in cells for name in keys))
    numbers = [f"{part}_{rule}" for rule in rules for part in ("mean", "sd", "n")]
    facts = list(dict.fromkeys(name for _, cell in cells for name in _facts(cell, rules)))
    out = io.StringIO()
    writer = csv.DictWriter(
        out, [*names, "planned", "done", "rule", *numbers, *facts, "evaluation", "unfinished"], lineterminator="\n"
    )
    writer.writeheader()
    for keys, cell in cells:
        line: Facts = {**keys, "planned": cell.planned, "done": len(cell.done), "rule": table.rule.name}
        for rule, stat in ((rule, cell.stats[rule]) for rule in rules):
            line |= {f"mean_{rule}": rounded(stat.mean), f"sd_{rule}": rounded(stat.sd), f"n_{rule}": stat.n}
        line |= _facts(cell, rules)
        line["evaluation"] = "; ".join(dict.fromkeys(run.evaluation for run in cell.done))
        line["unfinished"] = "; ".join(f"{count} {state}" for state, count in cell.states.items())
        writer.writerow(line)
    return out.getvalue()
