"""``list``: what can be named in a grid, and every key of it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.backend import ListEntry, backends
from bench.cli.options import JSON
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from bench.registry import Kind


class Listed(str, Enum):
    """What ``list`` lists."""

    METHODS = "methods"
    DATASETS = "datasets"
    PROTOCOLS = "protocols"
    NETWORKS = "networks"
    AUGMENTATIONS = "augmentations"
    PROBES = "probes"
    GRIDS = "grids"
    KEYS = "keys"
    PROFILES = "profiles"


def list_entries(
    what: Annotated[Listed, typer.Argument(help="What to list.")],
    space: Annotated[bool, typer.Option("--space", help="Also from which values `tune` draws options.")] = False,
    grep: Annotated[
        str | None, typer.Option("--grep", metavar="TEXT", help="`keys`: those in whose name or meaning this text is.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """List what can be named in a grid, with its options and their defaults; `keys`: every key that a grid can have."""
    from bench import registry
    from bench.errors import BenchError

    if grep is not None and what is not Listed.KEYS:
        raise BenchError(f"--grep {grep}: it is for `list keys`")
    if space and what.value in {"keys", "grids", *(name for backend in backends() for name in backend.lists)}:
        raise BenchError(f"--space: is for what has options, e.g. `list methods`, not for `list {what.value}`")
    if what is Listed.KEYS:
        _list_keys(grep or "", as_json)
        return
    if what is Listed.GRIDS:
        rows = _grids()
    elif listers := [backend.lists[what.value] for backend in backends() if what.value in backend.lists]:
        rows = [row for lister in listers for row in lister()]
    else:
        kind: Kind = what.value[:-1]
        rows = [
            {"name": e.name, "summary": e.summary, "options": _options(e.cls.Config)} for e in registry.entries(kind)
        ]
        if space:
            rows = [{**row, "space": _space(kind, row["name"])} for row in rows]
    if as_json:
        print_json({"entries": rows, "broken_plugins": registry.failures})
        return
    out = console()
    for row in rows:
        out.print(row["name"], style="bold", end="")
        out.print(f"  {row['summary']}")
        if row["options"]:
            out.print("    " + ", ".join(f"{k}={v}" for k, v in row["options"].items()), style="dim")
        for key, values in row.get("space", {}).items():
            out.print(f"    {key}: {values}")
    for path, why in registry.failures.items():
        out.print(f"broken plug-in {path}: {why}", style="red")


def _list_keys(text: str, as_json: bool) -> None:
    from dataclasses import asdict

    from bench.errors import BenchError
    from bench.spec.keys import grid_keys

    found = [key for key in grid_keys() if text.lower() in f"{key.key} {key.of} {key.about}".lower()]
    if as_json:
        print_json({"keys": [asdict(key) for key in found]})
        return
    if not found:
        raise BenchError(f"--grep {text}: no key has this in its name or meaning")
    out, words = console(), {"yes": "part of the id", "unless default": "part of the id unless default", "no": ""}
    for key in found:
        out.print(key.key, style="bold", end="")
        default = f" = {key.default}" if key.default not in ("", "required") else ""
        said = [f"{key.type}{default}", *(["required"] if key.default == "required" else []), words[key.identity]]
        out.print(f"{f' ({key.of})' if key.of else ''}  {'; '.join(filter(None, said))}")
        out.print(f"    {key.about}", style="dim")


def _options(config: Any) -> dict[str, Any]:
    return {
        name: "required"
        if field.is_required()
        else getattr(field.get_default(call_default_factory=True), "value", field.default)
        for name, field in config.model_fields.items()
    }


def _space(kind: Kind, name: str) -> dict[str, str]:
    """Return from which values ``tune`` draws an entry's options, in words."""
    from bench import registry
    from bench.spec.messages import validate
    from bench.spec.tune import Range

    ranges = registry.get(kind, name).Config.ranges
    return {key: str(validate(Range, value, f"{kind} {name}: {key}")) for key, value in ranges.items()}


def _grids() -> list[ListEntry]:
    from bench.spec.grid import grid_files, read_grid

    grids = [(path, read_grid(path)) for path in grid_files()]
    return [{"name": p.stem, "summary": g.title, "options": {k: len(v) for k, v in g.axes.items()}} for p, g in grids]
