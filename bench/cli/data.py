"""``list``, ``data`` and ``split``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import DATA, JSON, SET, console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from bench.registry import Kind
    from bench.spec.cell import Part


class Listed(str, Enum):
    """What ``list`` lists."""

    METHODS = "methods"
    DATASETS = "datasets"
    PROTOCOLS = "protocols"
    NETWORKS = "networks"
    AUGMENTATIONS = "augmentations"
    PROBES = "probes"
    GRIDS = "grids"
    PROFILES = "profiles"


NAME = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset: see `list datasets`.")]
data_app = typer.Typer(help="Prepare a dataset, or check all of it.", no_args_is_help=True)


def list_entries(what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: JSON = False) -> None:
    """List what can be named in a grid, with its options and their defaults."""
    from bench import registry

    if what is Listed.GRIDS:
        rows = _grids()
    elif what is Listed.PROFILES:
        rows = _profiles()
    else:
        kind: Kind = what.value[:-1]
        rows = [
            {"name": e.name, "summary": e.summary, "options": _options(e.cls.Config)} for e in registry.entries(kind)
        ]
    if as_json:
        print_json({"entries": rows, "broken_plugins": registry.failures})
        return
    out = console()
    for row in rows:
        out.print(f"[bold]{row['name']}[/]  {row['summary']}")
        if row["options"]:
            out.print("    " + ", ".join(f"{k}={v}" for k, v in row["options"].items()), style="dim", markup=False)
    for path, why in registry.failures.items():
        out.print(f"broken plug-in {path}: {why}", style="red", markup=False)


def _options(config: Any) -> dict[str, Any]:
    return {
        name: "required"
        if field.is_required()
        else getattr(field.get_default(call_default_factory=True), "value", field.default)
        for name, field in config.model_fields.items()
    }


def _grids() -> list[dict[str, Any]]:
    from bench.spec.grid import grid_files, read_grid

    grids = [(path, read_grid(path)) for path in grid_files()]
    return [{"name": p.stem, "summary": g.title, "options": {k: len(v) for k, v in g.axes.items()}} for p, g in grids]


def _profiles() -> list[dict[str, Any]]:
    from slurm.profiles import profile_names, read_profile

    profiles = {name: read_profile(name) for name in profile_names()}
    hidden = {"description", "extends"}
    return [
        {"name": name, "summary": p.description, "options": p.model_dump(exclude=hidden, exclude_defaults=True)}
        for name, p in profiles.items()
    ]


def dataset_part(name: str, sets: list[str] | None) -> Part:
    """Resolve a dataset with options given as ``--set size=[180,240]``."""
    from bench.plan.request import parse_sets
    from bench.spec.cell import resolve_part

    return resolve_part("dataset", {"name": name, **parse_sets(tuple(sets or ()))}, "dataset")


@data_app.command()
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


@data_app.command()
def check(name: NAME, sets: SET = None, data: DATA = None, as_json: JSON = False) -> None:
    """Walk a whole dataset and report every problem. Exit code 1 if there is one."""
    from dataclasses import asdict

    from bench.data.roots import DataRoots, open_dataset

    dataset = open_dataset(dataset_part(name, sets), DataRoots.parse(data or []))
    with progress_bar(f"checking {name}", as_json) as step:
        report = dataset.check(step)
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report, dataset.classes)
    raise SystemExit(1 if report.problems else 0)


def progress_bar(title: str, hidden: bool) -> Any:
    """Return a context that gives a progress callback (done, total) and shows a bar on a terminal."""
    from contextlib import contextmanager

    from rich.progress import Progress

    @contextmanager
    def bar() -> Any:
        err = console(stderr=True)
        with Progress(console=err, disable=hidden or not err.is_terminal, transient=True) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    return bar()


def _class_table(report: Any, classes: tuple[str, ...]) -> Table:
    from rich.table import Table

    total = max(sum(report.class_pixels.values()), 1)
    table = Table("class", "images", "pixels", "share", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for label in [*classes, "void"]:
        pixels = report.class_pixels.get(label, 0)
        table.add_row(label, str(report.class_images.get(label, "")), f"{pixels:,}", f"{100 * pixels / total:.2f} %")
    return table


def _print_report(report: Any, classes: tuple[str, ...]) -> None:
    out = console()
    out.print(f"[bold]{report.dataset}[/] in {report.root}: " + ", ".join(f"{n} {k}" for k, n in report.counts.items()))
    if report.class_pixels:
        out.print("sizes: " + ", ".join(f"{size} ({n})" for size, n in report.sizes.items()))
        out.print(_class_table(report, classes))
    for note in report.notes:
        out.print(note, style="yellow" if note.startswith("incomplete") else "", markup=False)
    for problem in report.problems:
        out.print(f"problem: {problem}", style="red", markup=False)
    out.print(f"{len(report.problems)} problems" if report.problems else "no problems")


def add_to(app: typer.Typer) -> None:
    """Add this room's verbs."""
    app.command("list")(list_entries)
    app.add_typer(data_app, name="data")
