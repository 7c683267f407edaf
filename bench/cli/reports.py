"""``table`` and ``plot``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.evaluations import IGNORE, MODE, SIZE, SPLIT, STRIDE, asked_for
from bench.cli.formats import RAW, Format, Select
from bench.cli.options import JSON, ONLY, disable_gc, takes_request
from bench.cli.output import console, deliver, print_json, print_warnings
from bench.text import ESCAPE, REPLACE

if TYPE_CHECKING:
    from bench.plan.request import Request


class Plot(str, Enum):
    """The plots."""

    RATIO = "ratio"
    CONVERGENCE = "convergence"
    LOSSES = "losses"
    MEMORY = "memory"
    RANKS = "ranks"
    VARIANCE = "variance"
    TUNING = "tuning"
    QUALITATIVE = "qualitative"
    SWEEP = "sweep"


class Pick(str, Enum):
    """How ``plot qualitative`` chooses images."""

    SPREAD = "spread"
    FIRST = "first"
    BEST = "best"
    WORST = "worst"


# What is done in a format about a character that the encoding lacks; elsewhere something like it is written.
_LACKING = {Format.JSON: ESCAPE, Format.HTML: "xmlcharrefreplace"}
COMPARE = Annotated[
    tuple[str, str] | None,
    typer.Option("--compare", metavar="A B", help="Difference A − B per split and seed instead."),
]
METRIC = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="Instead of mIoU: macc, accuracy, fwiou, dice, f1, precision, recall, kappa, image-miou, "
        "miou-small, miou-medium, miou-large, boundary-iou.",
    ),
]
MARGIN = Annotated[
    float | None,
    typer.Option("--margin", metavar="MIOU", min=0.001, help="With --compare: what counts as no difference (1.0)."),
]
SELECT = Annotated[Select | None, typer.Option("--select", help="Override the grid's headline rule.")]


PER_CLASS = Annotated[bool, typer.Option("--per-class", help="IoU, or --metric, of each class instead of the mean.")]
AGGREGATE = Annotated[
    bool, typer.Option("--aggregate", help="Also methods over all columns: interquartile mean, P(improvement).")
]
PREDICTOR = Annotated[
    str | None,
    typer.Option("--predictor", metavar="NAME", help="Of another predictor that `evaluation.predictors: all` scored."),
]
ROWS = Annotated[str | None, typer.Option("--rows", metavar="AXIS,…", help="Axes as rows, e.g. threshold (method).")]
COLUMNS = Annotated[
    str | None, typer.Option("--columns", metavar="AXIS,…", help="Axes as columns, e.g. seed (labels).")
]
HEADLINE = Annotated[bool, typer.Option("--headline-only", help="The headline rule alone; so are md and latex anyway.")]
EVERY_RULE = Annotated[bool, typer.Option("--every-rule", help="The other rules too, also in md and latex.")]
EACH = Annotated[bool, typer.Option("--runs", help="One row per run instead, all that was recorded: CSV or JSON.")]
OUTPUT = Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write to a file instead.")]


@takes_request
def table(
    request: Request,
    fmt: Annotated[Format | None, typer.Option("--format", help="Without it: for the terminal.")] = None,
    select: SELECT = None,
    per_class: PER_CLASS = False,
    compare: COMPARE = None,
    margin: MARGIN = None,
    aggregate: AGGREGATE = False,
    metric: METRIC = None,
    predictor: PREDICTOR = None,
    split: SPLIT = None,
    mode: MODE = None,
    size: SIZE = None,
    stride: STRIDE = None,
    ignore: IGNORE = None,
    only: ONLY = None,
    rows: ROWS = None,
    columns: COLUMNS = None,
    headline_only: HEADLINE = False,
    every_rule: EVERY_RULE = False,
    each: EACH = False,
    raw: RAW = False,
    output: OUTPUT = None,
    as_json: JSON = False,
) -> None:
    """Print a grid's table: mean ± sample standard deviation over seeds, beside published figures; while it runs, too.

    With --split, --mode, --size, --stride or --ignore-classes: of the evaluations that `evaluate` or `evaluation.also` has
    made so.
    """
    disable_gc()
    from bench.cli.tables import Kind, Shape, Source, each_run, made, named, restricted
    from bench.errors import BenchError
    from bench.plan.summary import find_summary
    from bench.report.formats import terminal
    from bench.report.formats.render import render

    source = Source(asked_for(split, mode, size, stride, ignore), predictor, metric)
    kind = Kind(per_class, compare, margin, aggregate, each)
    kind.check(source, shaped=bool(rows or columns))
    if headline_only and every_rule:
        raise BenchError("--headline-only and --every-rule: give one of them")
    summary, chosen = restricted(find_summary(request), only), Format.JSON if as_json else fmt
    written = chosen in (Format.MD, Format.LATEX) or (chosen is None and output is not None)
    shape = Shape(named(rows), named(columns), headline_only or (written and not every_rule))
    if raw and chosen is not Format.CSV and not (each and chosen is None):
        raise BenchError("--raw: is for CSV, of --format csv or --runs")
    if each:
        text = each_run(request.store, summary, chosen, metric, raw)
    else:
        shown = made(request.store, summary, select, kind, source, shape)
        if chosen is None and output is None:
            screen = console()
            screen.print(terminal.drawn(shown, screen.width))
            return
        text = render(shown, (chosen or Format.MD).value, raw)
    deliver(text, output, _LACKING.get(chosen or Format.MD, REPLACE))


@takes_request
def plot(
    kind: Annotated[Plot, typer.Argument(help="What to plot.")],
    request: Request,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the files go.")] = Path("plots"),
    select: SELECT = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="NAME", help="`convergence` of a loss, or what else methods log.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="A,B,…", help="`qualitative`: of these methods, in this order.")
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", metavar="N|ID,…", help="`qualitative`: how many, or which (4).")
    ] = None,
    pick: Annotated[
        Pick | None,
        typer.Option(
            "--pick", help="`qualitative`: which images; best and worst are those of the last method beside the first."
        ),
    ] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="KEY=VALUE,…", help="Of these cells.")] = None,
    x: Annotated[
        str | None, typer.Option("--x", metavar="AXIS", help="`sweep`: over this axis, e.g. threshold.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Draw a plot of a grid as PNG, SVG and PDF; also while it still runs."""
    from bench.errors import BenchError

    of_pictures = {"methods": methods, "images": images, "pick": pick}
    for name, value in of_pictures.items():
        if value is not None and kind is not Plot.QUALITATIVE:
            raise BenchError(f"--{name}: it is for `plot qualitative`")
    if (x is not None) != (kind is Plot.SWEEP):
        raise BenchError("--x AXIS: it is for `plot sweep`, which needs it")
    if only is not None and kind in (Plot.MEMORY, Plot.TUNING):
        raise BenchError(f"--only: `plot {kind.value}` shows all there is; leave it out")
    if of is not None and kind is not Plot.CONVERGENCE:
        raise BenchError(f"--of {of}: it is for `plot convergence`")

    if select is not None and kind in (Plot.MEMORY, Plot.CONVERGENCE, Plot.LOSSES, Plot.TUNING):
        raise BenchError(f"--select {select.value}: `plot {kind.value}` has no selection rule; leave it out")
    if kind is Plot.MEMORY:
        from bench.cli.memory import plot_memory

        plot_memory(request, output, as_json)
        return
    if kind is Plot.QUALITATIVE:
        from bench.cli.pictures import plot_qualitative

        which = (select or Select.LAST).value
        files = plot_qualitative(request, methods, only, (pick or Pick.SPREAD).value, images or "4", which, output)
    else:
        files = _drawn(kind, request, output, select, of, only, x)
    if as_json:
        print_json({"files": [str(f) for f in files]})
    else:
        console().print("wrote " + ", ".join(str(f) for f in files))


def _drawn(
    kind: Plot, request: Request, output: Path, select: Select | None, of: str | None, only: str | None, x: str | None
) -> list[Path]:
    from bench.cli.tables import restricted
    from bench.plan.summary import find_summary
    from bench.report import records

    summary = restricted(find_summary(request), only)
    if kind is Plot.TUNING:
        from bench.report.figures.tuning import tuning

        return tuning(request.store, summary, output)
    runs, rule = records.load(request.store, summary.cells), select.value if select else None
    if kind is Plot.RATIO:
        from bench.report.figures.ratio import ratio

        return ratio(runs, summary, output, rule)
    if x is not None:
        from bench.report.figures.sweep import sweep

        return sweep(runs, summary, output, x, rule)
    if kind is Plot.RANKS:
        from bench.report.figures.ranks import ranks

        return ranks(runs, summary, output, rule)
    if kind is Plot.VARIANCE:
        from bench.report.figures.variance import variance

        return variance(runs, summary, output, rule)
    from bench.report.curves import cut_short, read_curves, read_every, read_logged
    from bench.report.figures.convergence import convergence, losses

    ids = [cell.id for cell in summary.cells]
    evaluated = read_curves(request.store, ids)
    print_warnings(console(stderr=True), cut_short(summary.cells, evaluated, request.store))
    if kind is Plot.LOSSES:
        return losses(runs, read_every(request.store, ids), summary, output)
    curves = evaluated if of is None else read_logged(request.store, ids, of)
    return convergence(runs, curves, summary, output, of)
