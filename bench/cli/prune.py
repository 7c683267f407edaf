"""``prune``: free disk space that a grid's runs take and need no more."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import JSON, disable_gc, takes_request
from bench.cli.output import console, counted, print_json, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan.request import Request
    from bench.store.prune import Removal


class Part(str, Enum):
    """What ``prune`` can remove."""

    CHECKPOINTS = "checkpoints"
    UNFINISHED = "unfinished"
    LAST = "last"
    BEST = "best"
    SELECTED = "selected"
    STALE = "stale"


_DEFAULT = (Part.CHECKPOINTS, Part.BEST, Part.STALE)
_WORDS = {
    Part.CHECKPOINTS: "checkpoints that nothing goes on from",
    Part.UNFINISHED: "checkpoints of unfinished runs, which begin anew then",
    Part.LAST: "last weights of finished runs",
    Part.BEST: "best weights of finished runs",
    Part.SELECTED: "selected weights of finished runs",
    Part.STALE: "checkpoints and weights of runs that the grid no longer has",
}


@takes_request
def prune(
    request: Request,
    what: Annotated[
        list[Part] | None,
        typer.Option("--what", help="What goes; may be repeated. By default: checkpoints, best and stale."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: JSON = False,
) -> None:
    """Remove checkpoints and weights that a grid's runs need no more; says how many bytes, and asks first.

    Results, metrics, logs and records stay, and so does all of a run that is being run. `unfinished`, `last` and `selected`
    have to be asked for. With --set, the runs of the grid as it is written are not stale.
    """
    disable_gc()
    from bench.cli.grids import viewed
    from bench.errors import BenchError
    from bench.store.prune import removable, remove

    parts = tuple(dict.fromkeys(what or _DEFAULT))
    if request.sets and Part.STALE in parts:
        if what:
            raise BenchError(
                "--what stale: not with --set, under which the runs of the grid as it is written look stale"
            )
        parts = tuple(part for part in parts if part is not Part.STALE)
    found = removable(request.store, viewed(request), [part.value for part in parts])
    out = console(stderr=as_json)
    if not as_json:
        _say(found, parts)
    gone = list["Removal"]()
    if found and _agreed(yes, as_json):
        gone = remove(found)
    if as_json:
        went = {one.path for one in gone}
        files = [
            {"file": str(one.path), "what": one.what, "bytes": one.size, "removed": one.path in went} for one in found
        ]
        print_json({"files": files, "bytes": sum(one.size for one in found), "removed": sum(one.size for one in gone)})
    elif gone:
        left = len(found) - len(gone)
        stays = f"; {counted(left, 'file')} of runs that have begun meanwhile stay" if left else ""
        out.print(f"removed {counted(len(gone), 'file')}, {size_text(sum(one.size for one in gone))}{stays}")


def _say(found: Sequence[Removal], parts: Sequence[Part]) -> None:
    out = console()
    for part in parts:
        mine = [one for one in found if one.what == part.value]
        runs = len({one.run.path for one in mine})
        size = size_text(sum(one.size for one in mine))
        out.print(f"{part.value}: {size} in {counted(len(mine), 'file')} of {counted(runs, 'run')}: {_WORDS[part]}")
    out.print("results, metrics and logs stay" if found else "nothing to remove")


def _agreed(yes: bool, as_json: bool) -> bool:
    from bench.errors import BenchError

    if yes or as_json:
        return yes
    if not sys.stdin.isatty():
        raise BenchError("nothing was removed: there is no terminal to ask on; add --yes")
    if typer.confirm("Remove them?"):
        return True
    raise BenchError("nothing was removed")
