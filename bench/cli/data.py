"""``data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.once import Verb
from bench.cli.options import DATA, JSON, SET
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from bench.spec.cell import Part
    from datasets.base import CheckReport
    from datasets.proposal.propose import Proposal

_SIZES = 5  # that are printed


NAME = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset: see `list datasets`.")]
GRID = Annotated[
    str | None,
    typer.Option("--grid", metavar="FILE", help="The dataset of a grid, or of a file with a `dataset:` block."),
]
data_app = typer.Typer(
    help="Prepare a dataset, check all of it, or propose one for your own folder.", no_args_is_help=True
)


def dataset_part(name: str, sets: list[str] | None) -> Part:
    """Resolve a dataset with options given as ``--set size=[180,240]``."""
    from bench.plan.request import parse_sets
    from bench.spec.cell import resolve_part

    return resolve_part("dataset", {"name": name, **parse_sets(tuple(sets or ()))}, "dataset")


def dataset_parts(name: str | None, grid: str | None, sets: list[str] | None) -> list[Part]:
    """Return the dataset of a name, or those of a grid or a file with a ``dataset:`` block, with ``--set`` on top.

    Raises:
        BenchError: if neither or both are given, or one can't be resolved.
    """
    from bench.errors import BenchError
    from bench.plan.datasets import datasets_of

    if (name is None) == (grid is None):
        raise BenchError("name a dataset (see `list datasets`), or give --grid FILE")
    if name is not None:
        return [dataset_part(name, sets)]
    return datasets_of(str(grid), tuple(sets or ()))


@data_app.command(cls=Verb)
def prepare(
    name: NAME,
    source: Annotated[Path | None, typer.Option("--from", metavar="DIR", help="Official archives or folders.")] = None,
    download: Annotated[
        bool,
        typer.Option("--download", help="Download the archives first: into --from, else into the dataset's folder."),
    ] = False,
    sets: SET = None,
    data: DATA = None,
    as_json: JSON = False,
) -> None:
    """Make a dataset ready where it is looked for. Killed, it goes on where it was; done, doing it again is quick."""
    from bench.cli.progress import progress_bar
    from bench.data.roots import DataRoots

    part, roots = dataset_part(name, sets), DataRoots.parse(data or [], must_exist=False)
    if download:
        source = source or roots.root(name) / "archives"
        part.cls.download(part.config, source)
    with progress_bar(f"preparing {name}", as_json) as step:
        part.cls.prepare(part.config, roots.root(name), source, step)
    if as_json:
        print_json({"dataset": name, "root": str(roots.root(name))})
    else:
        console().print(f"{name} is ready in {roots.root(name)}")


@data_app.command(cls=Verb)
def check(
    name: Annotated[str | None, typer.Argument(metavar="[DATASET]", help="A dataset: see `list datasets`.")] = None,
    grid: GRID = None,
    sets: SET = None,
    data: DATA = None,
    as_json: JSON = False,
) -> None:
    """Walk a whole dataset and report every problem. Exit code 1 if there is one."""
    from dataclasses import asdict

    from bench.cli.progress import progress_bar
    from bench.data.roots import DataRoots, open_dataset

    reports: list[CheckReport] = []
    roots = DataRoots.parse(data or [])
    for part in dataset_parts(name, grid, sets):
        dataset = open_dataset(part, roots)
        with progress_bar(f"checking {part.name}", as_json) as step:
            reports.append(dataset.check(step))
    if as_json:
        print_json(asdict(reports[0]) if len(reports) == 1 else [asdict(report) for report in reports])
    else:
        for report in reports:
            _print_report(report)
    raise SystemExit(1 if any(report.problems for report in reports) else 0)


@data_app.command(cls=Verb)
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of images and their masks.")],
    val: Annotated[float, typer.Option("--val", metavar="SHARE", help="Share of val, of images with a mask.")] = 0.2,
    test: Annotated[float, typer.Option("--test", metavar="SHARE", help="Share of test.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw of val and test.")] = 0,
    groups: Annotated[
        str, typer.Option("--groups", metavar="RULE", help="What stays together: folder, prefix, or FILE.csv:COLUMN.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over what an earlier `data init` wrote.")] = False,
    as_json: JSON = False,
) -> None:
    """Look at a folder of images and masks, and write a `dataset:` block and lists of train and val into it."""
    from dataclasses import asdict

    from bench.cli.progress import progress_bar
    from bench.errors import BenchError
    from datasets.proposal.propose import propose
    from datasets.proposal.writing import write_proposal

    if not folder.is_dir():
        raise BenchError(f"{folder}: there is no such folder")
    with progress_bar("looking at masks", as_json) as step:
        proposal = propose(folder, seed, val, test, groups, step)
    path = write_proposal(folder, proposal, force)
    if as_json:
        print_json(asdict(proposal))
    else:
        _print_proposal(folder, path, proposal)


def _print_proposal(folder: Path, path: Path, proposal: Proposal) -> None:
    out, name = console(), proposal.block["data"]
    out.print(path.read_text("utf-8").rstrip())
    for split, (masks, bare) in proposal.counts.items():
        out.print(f"{split}: {masks} images with a mask" + (f", {bare} without" if bare else ""))
    for note in proposal.notes:
        out.print(f"note: {note}")
    place = f"--data {name}={folder.resolve()}"
    out.print(f"written to {path}; next: bench.py data check --grid {path} {place}")
    out.print("then put the block into a grid's recipe, and give the grid's verbs the same --data (or set BENCH_DATA)")


def _class_table(report: CheckReport) -> Table:
    from rich.table import Table

    total = max(sum(report.class_pixels.values()), 1)
    table = Table("class", "images", "pixels", "share", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    named = [(label, pixels) for label, pixels in report.class_pixels.items() if pixels or report.classes_known]
    for label, pixels in named:
        table.add_row(label, str(report.class_images[label]), f"{pixels:,}", f"{100 * pixels / total:.2f} %")
    return table


def _sizes(report: CheckReport) -> str:
    """Return the commonest sizes; own photographs come in hundreds."""
    some = [f"{size} ({n})" for size, n in list(report.sizes.items())[:_SIZES]]
    more = len(report.sizes) - _SIZES
    return ", ".join(some) + (f", and {more} other sizes" if more > 0 else "")


def _print_report(report: CheckReport) -> None:
    out = console()
    out.print(report.dataset, style="bold", end="")
    out.print(f" in {report.root}: " + ", ".join(f"{n} {k}" for k, n in report.counts.items()))
    if report.class_pixels:
        out.print(f"sizes: {_sizes(report)}")
        out.print(_class_table(report))
    if any(report.annotated.get(split, n) < n for split, n in report.counts.items()):
        out.print("with a mask: " + ", ".join(f"{n} {k}" for k, n in report.annotated.items()))
    for note in report.notes:
        out.print(note, style="yellow" if note.startswith("incomplete") else "")
    for problem in report.problems:
        out.print(f"problem: {problem}", style="red")
    out.print(f"{len(report.problems)} problems" if report.problems else "no problems")
