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


def missing(needs: Iterable[Need]) -> list[str]:
    """Return what to do for each file that isn't there, a line each."""
    return [said for path, said in dict.fromkeys(needs) if not Path(path).is_file()]


def missing_for(cells: Iterable[Cell], store: Path) -> list[str]:
    """Return what to do for each file that a cell without result in `store` needs and that isn't there."""
    return missing(need for cell in cells if not Run(store / cell.id).is_done() for need in needs_of(cell))


def missing_of(summary: Summary, store: Path) -> list[str]:
    """Return what :func:`missing_for` does, of a grid that was planned, trials included."""
    return missing(
        summary.needs[place]
        for cell in [*summary.trials, *summary.cells]
        if cell.needs and not Run(store / cell.id).is_done()
        for place in cell.needs
    )
