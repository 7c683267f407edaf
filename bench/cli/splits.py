"""``split``: label splits drawn, kept and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.data import GRID, dataset_parts
from bench.cli.options import DATA, JSON, SET, STORE, store_path
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from datasets.split import Manifest


def split(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="A dataset: see `list datasets`; not with --grid.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Argument(metavar="PROTOCOL", help="e.g. few_labels=20, ratio=1/8, partial=1%, full.")
    ] = None,
    grid: GRID = None,
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
    from bench.yaml import parse_yaml

    if compare is not None:
        _compare(compare, store_path(store), as_json)
        return
    if grid is not None and protocol is None:
        dataset, protocol = None, dataset
    if (dataset is None) == (grid is None) or protocol is None:
        raise BenchError(
            "split: name a dataset and a protocol, e.g. split synthetic few_labels=20 or split --grid FILE ratio=1/8; "
            "or --compare A B"
        )
    (of, *others) = dataset_parts(dataset, grid, sets)
    if others:
        raise BenchError(f"--grid {grid}: has {1 + len(others)} datasets; choose one with --set")
    name, equals, value = protocol.partition("=")
    raw = {name: parse_yaml(value, protocol)} if equals else name
    part = resolve_part("protocol", raw, "protocol")
    manifest = draw_split(of, part, seed, DataRoots.parse(data or []), holdout)
    keep_split(store_path(store), manifest)
    if output is not None:
        write_json(output, manifest.as_json())
    if as_json:
        print_json(manifest.as_json())
        return
    _say(manifest)
    console().print(f"manifest: {split_path(store_path(store), manifest.sha256)}")


def _say(manifest: Manifest) -> None:
    out = console()
    out.print(f"{_described(manifest)}, ", end="")
    out.print(f"{len(manifest.unlabelled)} unlabelled images; sha256 {manifest.sha256}")
    out.print("labelled images per class: ", end="")
    out.print(", ".join(f"{k} {n}" for k, n in manifest.labelled_images_per_class.items()))
    out.print("labelled: " + " ".join(manifest.labelled))
    if manifest.holdout:
        out.print("held out of the labelled: " + " ".join(manifest.holdout))


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
