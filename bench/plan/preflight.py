"""What cells need beside their datasets, looked for before the first of them starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.spec.cell import PARTS, Cell
from bench.store.run import Run
from bench.store.summary import Summary

Need = tuple[str, str]  # a file, and what to do where it isn't there


def needs_of(cell: Cell) -> Iterator[Need]:
    """Yield the files that a cell's parts read at its start."""
    for kind in PARTS:
        yield from getattr(cell, kind).config.needed_files().items()


def modules_of(cell: Cell) -> tuple[str, ...]:
    """Return the modules that a cell's parts will use and that take seconds to import."""
    return tuple(dict.fromkeys(name for kind in PARTS for name in getattr(cell, kind).config.needed_modules()))


def _missing(wanted: Iterable[tuple[Need, str]], store: Path) -> list[str]:
    """Return what to do for each file that isn't there and that a cell without result needs, given by its id; a line each.

    Of thousands of cells whose files are there no run is looked at.
    """
    absent, found = dict[Need, bool](), dict[str, None]()
    for need, cell in wanted:
        if need not in absent:
            absent[need] = not Path(need[0]).is_file()
        if absent[need] and need[1] not in found and not Run(store / cell).is_done():
            found[need[1]] = None
    return list(found)


def missing_for(cells: Iterable[Cell], store: Path) -> list[str]:
    """Return what to do for each file that a cell without result in `store` needs and that isn't there."""
    wanted = ((need, cell.id) for cell in cells for need in needs_of(cell))
    return _missing(wanted, store)


def missing_of(summary: Summary, store: Path) -> list[str]:
    """Return what :func:`missing_for` does, of a grid that was planned, trials included."""
    cells = [*summary.trials, *summary.cells]
    return _missing(((summary.needs[place], cell.id) for cell in cells for place in cell.needs), store)
