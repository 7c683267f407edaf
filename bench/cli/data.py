"""``list``, ``data`` and ``split``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.backend import ListEntry, backends
from bench.cli.options import DATA, JSON, SET, STORE, store_path
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from bench.registry import Kind
    from bench.spec.cell import Part
    from datasets.base import CheckReport
    from datasets.split import Manifest

_SIZES = 5  # that are printed


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
    elif listers := [backend.lists[what.value] for backend in backends() if what.value in backend.lists]:
        rows = [row for lister in listers for row in lister()]
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
        out.print(row["name"], style="bold", end="")
        out.print(f"  {row['summary']}")
        if row["options"]:
            out.print("    " + ", ".join(f"{k}={v}" for k, v in row["options"].items()), style="dim")
    for path, why in registry.failures.items():
        out.print(f"broken plug-in {path}: {why}", style="red")


def _options(config: Any) -> dict[str, Any]:
    return {
        name: "required"
        if field.is_required()
        else getattr(field.get_default(call_default_factory=True), "value", field.default)
        for name, field in config.model_fields.items()
    }


def _grids() -> list[ListEntry]:
    from bench.spec.grid import grid_files, read_grid

    grids = [(path, read_grid(path)) for path in grid_files()]
    return [{"name": p.stem, "summary": g.title, "options": {k: len(v) for k, v in g.axes.items()}} for p, g in grids]


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


@data_app.command()
def check(name: NAME, sets: SET = None, data: DATA = None, as_json: JSON = False) -> None:
    """Walk a whole dataset and report every problem. Exit code 1 if there is one."""
    from dataclasses import asdict

    from bench.cli.progress import progress_bar
    from bench.data.roots import DataRoots, open_dataset

    dataset = open_dataset(dataset_part(name, sets), DataRoots.parse(data or []))
    with progress_bar(f"checking {name}", as_json) as step:
        report = dataset.check(step)
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report)
    raise SystemExit(1 if report.problems else 0)


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
    for note in report.notes:
        out.print(note, style="yellow" if note.startswith("incomplete") else "")
    for problem in report.problems:
        out.print(f"problem: {problem}", style="red")
    out.print(f"{len(report.problems)} problems" if report.problems else "no problems")


# -- label splits -------------------------------------------------------------------------------------------------------


def split(
    dataset: Annotated[str | None, typer.Argument(metavar="DATASET", help="A dataset: see `list datasets`.")] = None,
    protocol: Annotated[
        str | None, typer.Argument(metavar="PROTOCOL", help="e.g. few_labels=20, ratio=1/8, partial=1%, full.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The split seed.")] = 0,
    holdout: Annotated[
        int, typer.Option("--holdout", min=0, metavar="K", help="Hold K labelled images out (evaluation.holdout).")
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the manifest here too.")
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option("--compare", metavar="A B", help="Two manifests instead: files, or the hashes of kept splits."),
    ] = None,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Draw a label split, print its manifest and keep it in the store; or tell how two splits overlap."""
    from bench.data.roots import DataRoots
    from bench.data.splits import draw_split, keep_split, split_path
    from bench.errors import BenchError
    from bench.files import write_json
    from bench.spec.cell import resolve_part
    from bench.spec.yaml import parse_yaml

    if compare is not None:
        _compare(compare, store_path(store), as_json)
        return
    if dataset is None or protocol is None:
        raise BenchError("split: name a dataset and a protocol, e.g. split synthetic few_labels=20; or --compare A B")
    name, equals, value = protocol.partition("=")
    raw = {name: parse_yaml(value, protocol)} if equals else name
    part = resolve_part("protocol", raw, "protocol")
    manifest = draw_split(dataset_part(dataset, sets), part, seed, DataRoots.parse(data or []), holdout)
    keep_split(store_path(store), manifest)
    if output is not None:
        write_json(output, manifest.as_json())
    if as_json:
        print_json(manifest.as_json())
        return
    out = console()
    out.print(f"{dataset}, {part.name} {manifest.title}, seed {seed}: {len(manifest.labelled)} labelled, ", end="")
    out.print(f"{len(manifest.unlabelled)} unlabelled images; sha256 {manifest.sha256}")
    out.print("labelled images per class: ", end="")
    out.print(", ".join(f"{k} {n}" for k, n in manifest.labelled_images_per_class.items()))
    if manifest.labelled_high_quality is not None:
        out.print(f"from the high-quality list: {manifest.labelled_high_quality}")
    out.print("labelled: " + " ".join(manifest.labelled))
    if manifest.holdout:
        out.print("held out of the labelled: " + " ".join(manifest.holdout))
    out.print(f"manifest: {split_path(store_path(store), manifest.sha256)}")


def _compare(names: tuple[str, str], store: Path, as_json: bool) -> None:
    from bench.data.overlap import compare_splits, find_split

    first, second = (find_split(store, name) for name in names)
    found = compare_splits(first, second)
    if as_json:
        print_json(found)
        return
    out = console()
    for letter, manifest in zip("AB", (first, second), strict=True):
        out.print(f"{letter}: {_described(manifest)}")
    out.print(
        f"labelled in both: {found['both']}, in A alone: {found['only_a']}, in B alone: {found['only_b']} "
        f"(overlap {100 * found['jaccard']:.1f} % of all that either labels)"
    )
    if found["both"] and found["same_given"] is False:
        out.print("the images are labelled in part, and other pixels of them are given")


def _described(manifest: Manifest) -> str:
    text = f"{manifest.dataset}, {manifest.protocol['name']} {manifest.title}, seed {manifest.seed}: "
    text += f"{len(manifest.labelled)} labelled"
    quality = manifest.labelled_high_quality
    return text if quality is None else f"{text}, {quality} of them from the high-quality list"
