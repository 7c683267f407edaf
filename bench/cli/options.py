"""The options that verbs share, each written once, and the decorator that makes a :class:`Request` of them."""

from __future__ import annotations

import functools
import gc
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from bench.plan.request import Request
    from bench.spec.cell import Cell

T = TypeVar("T")
Verb = Callable[..., None]
SHOWN = 40  # cells that `status` and `plan` list without --all

GRID = Annotated[str, typer.Argument(metavar="GRID", help="A grid file, or the name of one in bench/grids.")]
DATA = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="NAME=DIR", help="Where a dataset lies (env: BENCH_DATA, a folder of folders)."),
]
STORE = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="The run store (env: BENCH_STORE; default: results/runs).")
]
SET = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the spec, e.g. schedule.iterations=100."),
]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ONLY = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="KEY=VALUE,…",
        help='Only these cells, e.g. method=classmix,optimizer.lr=1e-3; with a comma: method="a, b".',
    ),
]
ALL = Annotated[bool, typer.Option("--all", help=f"List every cell, not only the first {SHOWN}.")]

IDS = Annotated[bool, typer.Option("--ids", help="Also show the cells' ids, the names of their folders in the store.")]


def store_path(store: Path | None) -> Path:
    """Return the store: the option, else ``BENCH_STORE``, else ``results/runs`` of this checkout.

    Raises:
        BenchError: if a newer version has written it.
    """
    from bench.files import REPOSITORY
    from bench.store.schema import check_schema

    found = store or Path(os.environ.get("BENCH_STORE") or REPOSITORY / "results" / "runs")
    check_schema(found)
    return found


def make_request(grid: str, sets: list[str] | None, data: list[str] | None, store: Path | None) -> Request:
    """Return the request that the shared options make."""
    from bench.plan.request import Request

    return Request(grid, tuple(sets or ()), tuple(data or ()), store_path(store))


def takes_request(verb: Verb, grid: Any = GRID, default: Any = inspect.Parameter.empty) -> Verb:
    """Give a verb the grid argument, ``--set``, ``--data`` and ``--store``, and hand it the request made of them.

    Args:
        verb: takes a `request` among its parameters. In the signature that typer reads, the grid stands in its place; the
            options come before ``--json``, or last in a verb that has none.
        grid: type of the grid's parameter.
        default: of the grid's parameter; without one it is required.
    """
    # The class itself is not needed to read the signature, and importing it would slow `--help` down.
    types = get_type_hints(verb, localns={"Request": object}, include_extras=True)
    own = [p.replace(annotation=types[p.name]) for p in inspect.signature(verb).parameters.values()]
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shared = [inspect.Parameter(*option) for option in (("sets", either), ("data", either), ("store", either))]
    shared = [p.replace(default=None, annotation=t) for p, t in zip(shared, (SET, DATA, STORE), strict=True)]
    place = next((i for i, p in enumerate(own) if p.name == "as_json"), len(own))
    first = inspect.Parameter("grid", either, default=default, annotation=grid)
    parameters = [first if p.name == "request" else p for p in [*own[:place], *shared, *own[place:]]]

    @functools.wraps(verb)
    def with_request(
        grid: str, sets: list[str] | None, data: list[str] | None, store: Path | None, **options: Any
    ) -> None:
        verb(request=make_request(grid, sets, data, store), **options)

    # Typer reads both.
    with_request.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_request.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_request


def matching(
    items: Sequence[T],
    coords: Callable[[T], Mapping[str, Any]],
    only: str | None,
    cell: Callable[[T], Cell] | None = None,
) -> list[T]:
    """Return the items that match ``--only key=value,…``.

    Args:
        items: cells of a grid, or rows of its status.
        coords: the coordinates of one. Names are compared as they are written, other values as what they mean: ``1e-3`` is
            ``0.001``.
        only: what was given. A value with a comma stands in quotes; ``[a, b]`` is met by either.
        cell: returns the cell of one, of which any key may be asked for, such as `optimizer.lr`.

    Raises:
        BenchError: for an unknown key, or if nothing matches.
    """
    from bench.cli.only import asked_for, choose
    from bench.errors import BenchError

    found = list(items)
    for wanted in asked_for(only or ""):
        chosen = choose(items, coords, wanted, cell)
        found = [item for item in found if id(item) in chosen]
    if not found:
        raise BenchError(f"--only {only}: no cell of the grid matches all of it")
    return found


def disable_gc() -> None:
    """Turn Python's garbage collector off, for a verb that reads much, makes no cycles worth a search, and ends soon."""
    gc.disable()
