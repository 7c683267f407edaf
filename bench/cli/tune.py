"""``tune``: how the settings of a tuned grid were chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import JSON, disable_gc, takes_request
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from bench.plan.request import Request


@takes_request
def tune(
    request: Request,
    explain: Annotated[bool, typer.Option("--explain", help="Print every trial, ranked, and the rule.")] = False,
    as_json: JSON = False,
) -> None:
    """Show which settings a tuned grid chose, and among how many trials; nothing is run."""
    disable_gc()
    from bench.errors import BenchError
    from bench.plan.summary import find_summary
    from bench.report.tuning.explain import explain as ranking
    from bench.report.tuning.standing import said_settings, searched

    summary = find_summary(request)
    if summary.tuning is None:
        raise BenchError(f"{summary.name}: has no `tune` section; `run` searches nothing then")
    every, out = searched(request.store, summary), console()
    if as_json:
        print_json(
            {"grid": summary.name, "rule": ranking(request.store, summary)[0], "groups": [o.facts() for o in every]}
        )
        return
    if explain:
        out.print("\n".join(ranking(request.store, summary)))
        return
    for one in every:
        chosen = "open" if one.chosen is None else f"trial {one.chosen.number}: {said_settings(one.chosen)}"
        out.print(f"{one.name}: {chosen} (trials: {one.budget})")
