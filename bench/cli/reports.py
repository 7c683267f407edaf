"""``table`` and ``plot``."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.evaluations import MODE, SIZE, SPLIT, STRIDE, as_options, asked_for
from bench.cli.options import JSON, disable_gc, takes_request
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from bench.plan.request import Request
    from bench.report.model import Table
    from bench.spec.sections import OtherEvaluation
    from bench.store.summary import Summary


class Format(str, Enum):
    """The formats of ``table``."""

    MD = "md"
    CSV = "csv"
    LATEX = "latex"
    HTML = "html"
    JSON = "json"


class Select(str, Enum):
    """Which evaluation is the headline."""

    LAST = "last"
    BEST = "best"
    SELECTED = "selected"


class Plot(str, Enum):
    """The plots."""

    RATIO = "ratio"
    CONVERGENCE = "convergence"
    MEMORY = "memory"


COMPARE = Annotated[
    tuple[str, str] | None,
    typer.Option("--compare", metavar="A B", help="Difference A − B per split and seed instead."),
]
SELECT = Annotated[Select | None, typer.Option("--select", help="Override the grid's headline rule.")]


def _made(
    store: Path,
    summary: Summary,
    select: Select | None,
    per_class: bool,
    compare: tuple[str, str] | None,
    asked: OtherEvaluation | None,
) -> Table:
    from bench.report import records, tables

    rule, runs = select.value if select else None, records.load(store, summary.cells)
    missing: list[str] = []
    if asked is not None:
        from bench.report.evaluated import evaluated

        runs, missing = evaluated(runs, store, asked, rule or summary.select, as_options(asked))
        summary = summary.model_copy(update={"published": None})  # whose figures are of another evaluation
    if compare:
        from bench.report import pairs

        table = pairs.build(runs, summary, *compare, rule)
    else:
        table = (tables.per_class if per_class else tables.build)(runs, summary, rule)
    return replace(table, warnings=(*table.warnings, *missing))


def _raw(store: Path, summary: Summary, fmt: Format | None) -> str:
    """Return one row per run, with every figure that was recorded, as CSV (the default) or JSON."""
    from bench.errors import BenchError
    from bench.report import frame

    if fmt not in (None, Format.CSV, Format.JSON):
        raise BenchError(f"--runs --format {fmt.value}: rows of runs are written as csv or json")
    runs = frame.load(store, summary.cells)
    if fmt is Format.JSON:
        return f"{runs.to_json(orient='records', indent=1)}\n"
    return str(runs.convert_dtypes().to_csv(index=False))


@takes_request
def table(
    request: Request,
    fmt: Annotated[Format | None, typer.Option("--format", help="Without it: for the terminal.")] = None,
    select: SELECT = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="IoU of each class instead of mIoU.")] = False,
    compare: COMPARE = None,
    split: SPLIT = None,
    mode: MODE = None,
    size: SIZE = None,
    stride: STRIDE = None,
    each: Annotated[
        bool, typer.Option("--runs", help="One row per run instead, all that was recorded: CSV or JSON.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write to a file instead.")] = None,
    as_json: JSON = False,
) -> None:
    """Print a grid's table: mean ± sample standard deviation over seeds, beside published figures; while it runs, too.

    With --split, --mode, --size or --stride: of the evaluations that `evaluate` or `evaluation.also` has made so.
    """
    disable_gc()
    from bench.errors import BenchError
    from bench.plan.summary import find_summary
    from bench.report.formats import terminal
    from bench.report.formats.render import render

    asked = asked_for(split, mode, size, stride)
    if sum([per_class, bool(compare), each]) > 1:
        raise BenchError("--per-class, --compare and --runs: give one of them")
    if each and asked is not None:
        raise BenchError(f"--runs {as_options(asked)}: rows of runs hold their own evaluation; leave one of them out")
    summary, chosen = find_summary(request), Format.JSON if as_json else fmt
    if each:
        text = _raw(request.store, summary, chosen)
    else:
        made = _made(request.store, summary, select, per_class, compare, asked)
        if chosen is None and output is None:
            screen = console()
            screen.print(terminal.drawn(made, screen.width))
            return
        text = render(made, (chosen or Format.MD).value)
    if output is None:
        sys.stdout.write(text)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
        console().print(f"wrote {output}", markup=False)


@takes_request
def plot(
    kind: Annotated[Plot, typer.Argument(help="What to plot.")],
    request: Request,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the files go.")] = Path("plots"),
    select: SELECT = None,
    as_json: JSON = False,
) -> None:
    """Draw a plot of a grid as PNG, SVG and PDF; also while it still runs."""
    from bench.errors import BenchError

    if select is not None and kind is not Plot.RATIO:
        raise BenchError(f"--select {select.value}: only `plot ratio` has a selection rule; leave it out")
    if kind is Plot.MEMORY:
        from bench.cli.memory import plot_memory

        plot_memory(request, output, as_json)
        return
    files = _drawn(kind, request, output, select)
    if as_json:
        print_json({"files": [str(f) for f in files]})
    else:
        console().print("wrote " + ", ".join(str(f) for f in files), markup=False)


def _drawn(kind: Plot, request: Request, output: Path, select: Select | None) -> list[Path]:
    from bench.plan.summary import find_summary
    from bench.report import records

    summary = find_summary(request)
    runs = records.load(request.store, summary.cells)
    if kind is Plot.RATIO:
        from bench.report.figures.ratio import ratio

        return ratio(runs, summary, output, select.value if select else None)
    from bench.report.curves import read_curves
    from bench.report.figures.convergence import convergence

    curves = read_curves(request.store, (cell.id for cell in summary.cells))
    return convergence(runs, curves, summary, output)


def add_to(app: typer.Typer) -> None:
    """Add this room's verbs."""
    for verb in (table, plot):
        app.command()(verb)
