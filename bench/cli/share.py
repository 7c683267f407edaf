"""``bundle``, ``merge`` and ``describe``: results that leave this machine."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import JSON, ONLY, SHOWN, STORE, matching, store_path, takes_request
from bench.cli.output import console, counted, deliver, print_json
from bench.text import ESCAPE, REPLACE

if TYPE_CHECKING:
    from rich.console import Console

    from bench.plan.request import Request
    from bench.store.bundle.merge import Merged
    from bench.store.bundle.write import Written


class Weights(str, Enum):
    """Which weights go into a bundle."""

    LAST = "last"
    BEST = "best"
    SELECTED = "selected"
    ALL = "all"


class DescriptionFormat(str, Enum):
    """The formats of ``describe``."""

    MD = "md"
    LATEX = "latex"
    JSON = "json"


@takes_request
def bundle(
    request: Request,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The bundle to write, a ZIP archive.")],
    only: ONLY = None,
    weights: Annotated[
        Weights | None, typer.Option("--weights", help="Trained weights as well; without it: none.")
    ] = None,
    ro_crate: Annotated[
        str,
        typer.Option(
            "--ro-crate",
            metavar="LICENCE",
            help="As a Research Object Crate; the licence of your results, e.g. CC-BY-4.0.",
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    as_json: JSON = False,
) -> None:
    """Write a grid's results into one file for another store: all but checkpoints. Logs in it name hosts and paths.

    Runs that have ended are in it, failed ones too, with splits, plan, grid and versions; cells still open are only named.
    """
    from bench.plan.summary import find_summary
    from bench.report import records
    from bench.report.tally import mixed, tally
    from bench.run import provenance
    from bench.spec.grid import grid_path
    from bench.store.bundle import crate
    from bench.store.bundle.write import Asked, write_bundle
    from bench.store.status import stale_runs

    terms = crate.licence(ro_crate) if ro_crate else ""
    summary = find_summary(request)
    cells = matching(summary.cells, lambda cell: cell.coords, only)
    runs = tally(records.load(request.store, cells).records)
    asked = Asked(
        store=request.store,
        summary=summary.model_copy(update={"cells": cells}),
        grid=grid_path(request.grid),
        sets=request.sets,
        only=only or "",
        weights=weights.value if weights else "",
        licence=terms,
        environment={**provenance.describe(), "runs": runs},
    )
    written = write_bundle(output, asked, force)
    stale = [row["id"] for row in stale_runs(request.store, summary)]
    differing = mixed(runs)
    if as_json:
        found = {"file": str(output), "grid": summary.name, "runs": written.runs, "open": written.open}
        print_json({**found, "stale": stale, "files": written.files, "bytes": written.size, "mixed": differing})
        return
    _say(written, output, len(cells), len(stale), differing)


def _say(written: Written, output: Path, cells: int, stale: int, differing: list[str]) -> None:
    out = console()
    out.print(
        f"wrote {output}: {_states(written.runs)} of {counted(cells, 'cell')}; {counted(written.files, 'file')}, ",
        end="",
    )
    out.print(f"{written.size / 1e6:.1f} MB" if written.size >= 1e6 else f"{written.size / 1e3:.0f} kB")
    if written.open:
        out.print(f"{counted(len(written.open), 'cell')} still open, named only: {_states(written.open)}")
    if stale:
        out.print(f"left out: {counted(stale, 'run')} of the grid's past (stale)")
    for line in differing:
        out.print(f"differs between its runs: {line}")


def _states(states: dict[str, str]) -> str:
    found = list(states.values())
    return ", ".join(f"{found.count(state)} {state}" for state in dict.fromkeys(found))


def merge(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.")],
    keep_existing: Annotated[
        bool, typer.Option("--keep-existing", help="Where a run has another result here, keep it and merge the rest.")
    ] = False,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Merge a bundle into the store. All of it is verified before anything is written; nothing is overwritten."""
    from bench.store.bundle.merge import merge as merge_bundle

    place = store_path(store)
    merged = merge_bundle(file, place, keep_existing)
    if as_json:
        said = merged.manifest
        facts: dict[str, Any] = {"file": str(file), "sha256": merged.sha256, "store": str(place), "grid": said.grid}
        facts |= {"sets": said.sets, "host": said.host, "created": said.created, "grid_file": merged.grid}
        print_json(
            {**facts, **{key: getattr(merged, key) for key in ("new", "same", "kept", "notes")}, "open": said.open}
        )
    else:
        _print_merged(console(), file, place, merged)


def _print_merged(out: Console, file: Path, store: Path, merged: Merged) -> None:
    said = merged.manifest
    out.print(f"{file}: {said.grid}, {counted(len(said.runs), 'run')} of {said.host}, {said.created}, version ", end="")
    out.print(f"{said.tool_version}: {len(merged.new)} merged into {store}, {len(merged.same)} are there already")
    for run_id, why in list(merged.kept.items())[:SHOWN]:
        out.print(f"not merged: {run_id}: {why}")
    if len(merged.kept) > SHOWN:
        out.print(f"… and {len(merged.kept) - SHOWN} more not merged (--json)")
    for note in merged.notes:
        out.print(f"note: {note}")
    if said.open:
        out.print(f"not done there: {counted(len(said.open), 'cell')} ({_states(said.open)})")
    if merged.grid is not None:
        sets = [word for value in said.sets for word in ("--set", value)]
        out.print(f"its grid is kept: {shlex.join(['table', str(merged.grid), *sets])}")


@takes_request
def describe(
    request: Request,
    fmt: Annotated[DescriptionFormat, typer.Option("--format", help="How it is written.")] = DescriptionFormat.MD,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Write a paper's section on reproducibility and a checklist, from the store alone; while the grid runs, too."""
    from bench.plan.summary import find_summary
    from bench.report.description.describe import describe as described
    from bench.report.description.describe import render

    found = described(request.store, find_summary(request), request.grid, request.sets)
    text = render(found, "json" if as_json else fmt.value)
    deliver(text, output, ESCAPE if as_json or fmt is DescriptionFormat.JSON else REPLACE)
