"""CSV that a spreadsheet shows as it is: no text from a grid or a bundle is taken for a formula.

A cell whose text begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return is a formula to Excel, LibreOffice and
others, and may call programs. An apostrophe before it makes it text there. Numbers stay numbers, also those that are written
as text, or several in a cell.
Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_text(value: Any) -> Any:
    """Return a cell's value, a text that a spreadsheet would take for a formula with an apostrophe before it."""
    if not isinstance(value, str) or not value.startswith(_FORMULA) or all(map(_is_number, value.split("; "))):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    """Tell whether a text is a number, such as ``-0.5``: an axis' values are text."""
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text


def frame_csv(frame: pd.DataFrame, raw: bool = False) -> str:
    """Return a frame as CSV without its index.

    Args:
        frame: one row per run.
        raw: leave texts as they are, for programs.
    """
    found = frame.convert_dtypes()
    if not raw:
        texts = found.select_dtypes(["string", "object"]).columns
        found = found.assign(**{name: found[name].map(as_text, na_action="ignore") for name in texts})
        found.columns = found.columns.map(as_text)
    return str(found.to_csv(index=False))
