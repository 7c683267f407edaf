"""``report`` and ``serve``: a grid's page, in a file or live."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import JSON, takes_request
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from bench.page.content import Page
    from bench.page.pictures import Gallery
    from bench.plan.request import Request

LIVE = 5.0  # seconds between two looks of a page that is served
PORT = 8017
IMAGES = Annotated[
    int, typer.Option("--images", min=0, metavar="N", help="Sample predictions: N images per dataset; 0 for none.")
]


def _page(request: Request, galleries: Sequence[Gallery] = ()) -> Page:
    from bench.cli.grids import viewed
    from bench.page.content import Asked, gather_page
    from bench.plan.summary import find_summary

    summary = find_summary(request)
    return gather_page(Asked(request.store, request.grid, request.sets), summary, viewed(request), galleries)


@takes_request
def report(
    request: Request,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the file goes.")] = Path(
        "reports"
    ),
    images: IMAGES = 3,
    as_json: JSON = False,
) -> None:
    """Write a grid's page: table, charts, every cell, what failed, hours, in one HTML file; while it runs, too.

    The file loads nothing and can be sent as it is. Logs in it name hosts and paths.
    """
    from bench.files import short_name, write_if_changed
    from bench.page.render import render

    galleries, left_out = _galleries(request, images, as_json)
    page = _page(request, galleries)
    content = render(page, time.strftime("%Y-%m-%d %H:%M")).encode(errors="replace")
    path = output / f"{short_name(page.name)}-report.html"
    write_if_changed(path, content)
    if as_json:
        facts = {"file": str(path), "bytes": len(content), "done": page.done, "cells": len(page.cells.cells)}
        print_json({**facts, "problems": len(page.problems), "without_pictures": left_out})
        return
    out = console()
    out.print(f"wrote {path}: {page.done} of {len(page.cells.cells)} cells done, {len(content) / 1e6:.1f} MB")
    for line in left_out:
        out.print(f"no sample predictions: {line}")


@takes_request
def serve(
    request: Request,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where; 0 takes any that is free.")] = PORT,
    images: IMAGES = 0,
) -> None:
    """Serve a grid's page to a browser on this machine; it follows the store by itself. Ctrl-C ends it.

    It only reads. From elsewhere: `ssh -L 8017:localhost:8017 HOST`, then http://localhost:8017 in a browser at home.
    """
    from bench.page.render import render
    from bench.page.serve import MADE, Kept, server

    galleries, left_out = _galleries(request, images, quiet=False)
    _page(request, galleries)  # what is wrong with the grid is said before a browser asks
    made = Kept(lambda: render(_page(request, galleries), MADE, LIVE), LIVE)
    out = console()
    for line in left_out:
        out.print(f"no sample predictions: {line}")
    with server(made, port) as running:
        out.print(f"serving {request.grid} at http://localhost:{running.server_address[1]}/ (Ctrl-C ends)")
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            out.print("ended")


def _galleries(request: Request, images: int, quiet: bool) -> tuple[list[Gallery], list[str]]:
    """Return sample predictions of the grid's runs, and why runs have none."""
    if not images:
        return [], []
    from bench.cli.samples import sample_predictions
    from bench.page.pictures import galleries

    shown, left_out = sample_predictions(request, images, quiet)
    return galleries(shown), left_out
