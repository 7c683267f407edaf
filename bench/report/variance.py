"""Where the variance of a grid's runs comes from, where its splits and its initialisations are crossed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.report import notes
from bench.report.records import Record, Runs, group, is_seed, pick
from bench.report.statistics.components import Components, components

SPLIT = "seeds.split"


@dataclass(frozen=True)
class CellVariance:
    """The components of one cell of a table.

    Attributes:
        name: its coordinates in words.
        method: as the table names it.
        factors: names of the two crossed axes, the split's first.
        found: the components.
    """

    name: str
    method: str
    factors: tuple[str, str]
    found: Components


def crossed(runs: Runs) -> tuple[str, str] | None:
    """Return the two seed axes that a grid crosses, the split's first; None where it doesn't cross two."""
    varying = [axis for axis in runs.axes if is_seed(axis) and len({r.coords[axis] for r in runs.records}) > 1]
    # `seed` is the label of what `seeds.data` is; where that is an axis of its own, it says the same.
    others = [axis for axis in varying if axis not in (SPLIT, "seed")] or ["seed"]
    return (SPLIT, others[0]) if {SPLIT, *others} <= set(varying) and len(others) == 1 else None


def of_cells(runs: Runs, rule: str) -> list[CellVariance]:
    """Return the components of each cell whose crossed runs are all done; none where a grid crosses nothing."""
    factors = crossed(runs)
    if factors is None:
        return []
    place = [axis for axis in runs.axes if not is_seed(axis)]
    shown = ["method", "labels", *(a for a in place if a not in ("method", "labels") and _varies(runs.records, a))]
    made = []
    for records in group(runs.records, lambda record: pick(record, place)).values():
        values = {
            (str(r.coords[factors[0]]), str(r.coords[factors[1]])): float(score)
            for r in records
            if r.run.state == "done" and (score := r.run.values.get(rule)) is not None
        }
        found = components(values, factors) if len(values) == len(records) else None
        if found is not None:
            name = notes.where(records[0], shown)
            made.append(CellVariance(name, str(records[0].coords["method"]), factors, found))
    return made


def _varies(records: Sequence[Record], axis: str) -> bool:
    return len({record.coords[axis] for record in records}) > 1


def lines(runs: Runs, rule: str) -> Iterator[str]:
    """Yield what stands beneath a table whose grid crosses splits and initialisations."""
    found = of_cells(runs, rule)
    if not found:
        return
    first, second = found[0].factors
    yield (
        f"Crossed: each {first} with each {second}, so the runs of a cell are not independent of each other. "
        f"Standard deviation in {runs.named} by {first}, {second}, and the rest "
        "(their interaction and all else; analysis of variance):"
    )
    for cell in found:
        parts = cell.found
        negative = f"; {', '.join(parts.negative)}: too small to see" if parts.negative else ""
        yield f"{cell.name}: {parts.first:.2f}, {parts.second:.2f}, {parts.rest:.2f} ({parts.runs} runs{negative})."
