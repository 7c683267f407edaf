"""A page as HTML: one file that loads nothing, whose script and styles are named by their hashes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench import __version__
from bench.page import drawing
from bench.page.content import Page
from bench.page.results import HeatMap, shade
from bench.page.shades import styles
from bench.report.description.compute import hours_text
from bench.report.formats.view import Line
from bench.report.model import STOPPED
from bench.text import duration, without_commands

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = {
    "results": "Results",
    "charts": "Charts",
    "classes": "IoU per class",
    "pictures": "Sample predictions",
    "cells": "Cells",
    "problems": "What deviates, failed or is missing",
    "hours": "Hours",
    "reproduce": "How to repeat it",
}
_LOOKS = {"done": "good", "running": "on", "queued": "on", "preempted": "warn", "timed-out": "bad"}
_QUIET = ("pending", "stopped", "stale", "missing")


def render(page: Page, made: str, live: float = 0.0) -> str:
    """Return a page as HTML. Every text from outside is escaped.

    Args:
        page: its content.
        made: when, in words.
        live: seconds after which the page fetches itself again; 0: never, and nothing may be fetched.
    """
    css, js = styles() + _text("page.css"), _text("page.js")
    sections = [(name, title) for name, title in SECTIONS.items() if name != "pictures" or page.galleries]
    known = {"page": page, "made": made, "live": live, "version": __version__, "sections": sections}
    template = _environment().get_template("page.html")
    text = template.render(**known, policy=policy(bool(live)), css=_safe(css), js=_safe(js))
    return without_commands(text)


def policy(live: bool) -> str:
    """Return the page's Content-Security-Policy: its own script and styles, pictures within it, and no address at all."""
    parts = {
        "default-src": "'none'",
        "script-src": _hash(_text("page.js")),
        "style-src": _hash(styles() + _text("page.css")),
        "img-src": "data:",
        "connect-src": "'self'" if live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


@cache
def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _safe(text: str) -> str:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704  our own files, which no name from outside comes into


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "badge": _badge,
        "bases": _bases,
        "colour": drawing.colour_of,
        "dash": drawing.dash_of,
        "drawn": drawing.draw,
        "duration": duration,
        "grouped": _grouped,
        "hours": hours_text,
        "shade": shade,
        "shape": drawing.shape_of,
    }
    return made


def _badge(kind: str) -> str:
    """Return how the badge of a state, or of a kind of problem, looks."""
    if kind in _LOOKS:
        return _LOOKS[kind]
    return "bad" if kind in STOPPED else "" if kind in _QUIET else "warn"


def _bases(maps: Iterable[HeatMap]) -> list[str]:
    return list(dict.fromkeys(name for heat in maps for name, _ in heat.rows))


def _grouped(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield a table's lines by row: each with those that belong to it."""
    found: list[Line] = []
    for line in lines:
        if not line.minor and found:
            yield found
            found = []
        found.append(line)
    if found:
        yield found
