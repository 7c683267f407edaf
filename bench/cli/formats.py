"""The formats of ``table`` and the rules that verbs offer."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

RECORDED = (None, "miou")  # what every result has, so that no matrices are read for it


RAW = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="CSV's texts as they are; without it, one that a spreadsheet takes for a formula has a ' before it.",
    ),
]


class Format(str, Enum):
    """The formats of ``table``."""

    MD = "md"
    CSV = "csv"
    LATEX = "latex"
    HTML = "html"
    JSON = "json"


class Select(str, Enum):
    """Which evaluation is the headline."""

    LAST = "last"
    BEST = "best"
    SELECTED = "selected"
