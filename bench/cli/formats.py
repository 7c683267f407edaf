"""The formats of ``table`` and the rules that verbs offer."""

from __future__ import annotations

from enum import Enum

RECORDED = (None, "miou")  # what every result has, so that no matrices are read for it


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
