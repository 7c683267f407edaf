"""The tables of ``status`` and ``plan``: a row per cell, a column per axis that varies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.cli.options import SHOWN
from bench.cli.output import counted, duration
from bench.store.names import Names

if TYPE_CHECKING:
    from bench.store.status import GridStatus
    from bench.store.summary import CellSummary

# The place of each state in the table of `status`; those not named stand at 3.
ORDER = {"running": 0, "damaged": 1, "failed": 1, "out-of-memory": 1, "timed-out": 1, "diverged": 1, "preempted": 2}
ORDER |= {"queued": 4, "done": 5}
_DROPPED = ("attempt", "node", "Slurm", "it/s", "job", "ETA")  # where a terminal is narrow, in this order
_GAP = 2
_AROUND = 5  # lines of a terminal for what stands around the rows: totals of two lines among them


@dataclass(frozen=True)
class _Columns:
    """Columns of texts: those that tell cells apart, and facts by their heading."""

    axes: dict[str, list[str]]
    facts: dict[str, list[str]]

    def width(self) -> int:
        """Return how many columns of a terminal they take."""
        every = {**self.axes, **self.facts}
        return sum(_GAP + max(map(len, (heading, *cells))) for heading, cells in every.items())

    def fitting(self, width: int) -> _Columns:
        """Return them without empty ones, and, as far as needed, without those that matter least."""
        found = _Columns(self.axes, {heading: cells for heading, cells in self.facts.items() if any(cells)})
        for heading in _DROPPED:
            if found.width() <= width:
                break
            found.facts.pop(heading, None)
        return found

    def table(self) -> Table:
        """Return them as a table; names wrap where they must, numbers never do."""
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
        for heading in self.axes:
            table.add_column(Text(heading), overflow="fold")
        for heading in self.facts:
            right = heading in ("step", "it/s", "ETA", "mIoU", "attempt")
            table.add_column(
                heading, overflow="fold", no_wrap=heading != "reason", justify="right" if right else "left"
            )
        for line in zip(*self.axes.values(), *self.facts.values(), strict=True):
            table.add_row(*map(Text, line))
        return table


def _axes(names: Names, rows: Sequence[Mapping[str, object]], ids: bool) -> dict[str, list[str]]:
    """Return the columns that tell cells apart, their ids first where they are asked for."""
    values = [names.values(row["coords"]) for row in rows]  # type: ignore[arg-type]
    columns = {heading: [line[at] for line in values] for at, heading in enumerate(names.headings)}
    return {**({"id": [str(row["id"]) for row in rows]} if ids else {}), **columns}


def plan_table(cells: Sequence[CellSummary], shown: int | None, memory: Mapping[str, str], ids: bool) -> RenderableType:
    """Return the table of planned cells.

    Args:
        cells: in grid order.
        shown: how many of them; None for all.
        memory: what is predicted of a cell, by id.
        ids: also show their ids.
    """
    names, rows = Names(cell.coords for cell in cells), cells[:shown]
    axes = _axes(names, [{"id": cell.id, "coords": cell.coords} for cell in rows], ids)
    facts = {"memory": [memory.get(cell.id, "") for cell in rows]} if memory else {}
    return _Columns(axes, facts).table()


def status_table(
    state: GridStatus, every: bool, width: int, ids: bool = False, height: int | None = None
) -> RenderableType:
    """Return the table of a grid's cells, those that need a look first, for a terminal of this width.

    Where it has to fit into a height, too, the totals stand first, and as many cells beneath them as there is room for.
    """
    names = Names(row["coords"] for row in state["cells"])
    ordered = [*sorted(state["cells"], key=lambda r: ORDER.get(r["state"], 3)), *state["stale"]]
    rows = ordered if every else ordered[:SHOWN]
    rows = rows if height is None else rows[: max(1, height - _AROUND)]
    extra = ("job", "Slurm", "node") if any(row.get("submission") for row in state["cells"]) else ()
    lines = [_facts(row, extra) for row in rows]
    facts = {heading: [line[heading] for line in lines] for heading in (lines[0] if lines else ())}
    reasons = facts.pop("reason", [])
    columns = _Columns(_axes(names, rows, ids), facts).fitting(width)
    beneath = list[str]()
    if any(reasons) and columns.width() + max(map(len, reasons)) <= width:
        columns.facts["reason"] = reasons
    else:
        beneath = list(_beneath([names.name(row["coords"]) for row in rows], reasons))
    done, hidden = 100 * state["progress"], len(ordered) - len(rows)
    said = f"{totals(state)}; {done:.0f} % of all iterations; left: {duration(state['eta_seconds'])}"
    heading = Text(f"{state['grid']} ({counted(len(state['cells']), 'cell')})", style="bold")
    last = Text(said + (f"; {hidden} more cells{' (--all)' * (height is None)}" if hidden else ""), style="dim")
    parts: list[RenderableType] = [columns.table(), *map(Text, beneath)]
    return Group(heading, *parts, last) if height is None else Group(heading, last, *parts)


def _beneath(names: Sequence[str], reasons: Sequence[str]) -> Iterator[str]:
    """Yield a line per reason, with the cells that have it."""
    for reason in filter(None, dict.fromkeys(reasons)):
        found = [name for name, why in zip(names, reasons, strict=True) if why == reason]
        yield f"{found[0] if len(found) == 1 else counted(len(found), 'cell')}: {reason}"


def totals(state: GridStatus) -> str:
    """Write totals as ``3 done, 1 running``."""
    return ", ".join(f"{n} {name}" for name, n in sorted(state["totals"].items()))


def _facts(row: Mapping[str, Any], extra: Iterable[str]) -> dict[str, str]:
    """Return what the table shows of a cell beside its place in the grid, by heading."""
    from bench.store.rounding import mixed_code, went_on

    rate, miou = row.get("it_per_s"), row.get("miou")
    notes = [row.get("reason"), retried(row), silence(row), went_on(row.get("hardware")), mixed_code(row.get("codes"))]
    return {
        "state": str(row["state"]),
        "step": f"{row['step']}/{row['iterations']}" if "step" in row else "",
        "it/s": f"{rate:.1f}" if rate else "",
        "ETA": cell_eta(row),
        "mIoU": f"{miou:.1f}" if miou is not None else "",
        "attempt": str(row.get("attempt", "")),
        **{heading: str(row.get(heading.lower()) or "") for heading in extra},
        "reason": "; ".join(filter(None, [*notes, *damage(row)])),
    }


def damage(row: Mapping[str, Any]) -> list[str]:
    """Say which files of a cell are damaged, and which were set aside."""
    found = [f"damaged, set aside when the cell goes on: {line}" for line in row.get("damaged", [])]
    return found + [f"set aside: {line}" for line in row.get("set_aside", [])]


def silence(row: Mapping[str, Any]) -> str:
    """Say how long a running cell has given no sign of life, where that is longer than a step should take."""
    from bench.store.status import SILENT

    age: float = row.get("silent_seconds", 0.0)
    return f"no heartbeat for {duration(age)}" if age > SILENT else ""


def retried(row: Mapping[str, Any]) -> str:
    """Say how often a cell was submitted again by itself, because of a failure that wasn't its fault."""
    times = row.get("moves", 0)
    return f"infrastructure retry {times}" if times else ""


def cell_eta(row: Mapping[str, Any]) -> str:
    """Return how long a running cell still takes at its present rate."""
    rate = row.get("it_per_s")
    return duration((row["iterations"] - row["step"]) / rate) if row["state"] == "running" and rate else ""
