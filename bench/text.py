"""Text on its way out: for terminals that can't show every character, without what they would take for a command; times."""

from __future__ import annotations

import codecs
import unicodedata

REPLACE = "bench-replace"  # an error handler: for what an encoding lacks, something that looks or reads like it
ESCAPE = "bench-escape"  # an error handler: JSON's \uXXXX, which any reader of JSON turns back

_LIKE = {
    **{
        "–": "-",
        "—": "-",
        "−": "-",
        "‐": "-",
        "‑": "-",
        "×": "x",
        "·": ".",
        "•": "*",
        "±": "+/-",
        "÷": "/",
        "…": "...",
    },
    **{"→": "->", "←": "<-", "↔": "<->", "⇒": "=>", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∼": "~", "∞": "inf"},
    **{"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "∈": " in ", "√": "sqrt", "ß": "ss", "ø": "o", "Ø": "O"},
    **{"æ": "ae", "Æ": "AE", "ł": "l", "Ł": "L", "°": " deg", "\u00a0": " ", "\u202f": " ", "\u2009": " "},
}
# Commands to a terminal: control characters but for the end of a line and the tab, and what turns the direction of writing.
_COMMANDS = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}


def like(character: str) -> str:
    """Return an ASCII text that looks or reads like a character: ``e`` for ``é``, ``lambda`` for ``λ``; else ``?``."""
    if character in _LIKE:
        return _LIKE[character]
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    name = unicodedata.name(character, "")
    if not plain and name.startswith("GREEK"):
        word = name.split(" WITH ")[0].split()[-1]
        return word.capitalize() if "CAPITAL" in name else word.lower()
    return plain or "?"


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(like, error.object[error.start : error.end])), error.end


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end


codecs.register_error(REPLACE, _replace)
codecs.register_error(ESCAPE, _escape)


_ENDS = {ord(end): repr(end)[1:-1] for end in "\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029"}
SHOWN = 80  # characters of a value from outside that a message shows


def cut(text: str, longest: int = SHOWN) -> str:
    """Return a text of at most `longest` characters, the rest replaced by an ellipsis."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def shown(value: object) -> str:
    """Return a value from outside as messages show it: as Python writes it, and its first characters alone."""
    return cut(repr(value))


def in_one_line(text: str) -> str:
    """Return a text without ends of lines and tabs, which are written as in Python's strings: one message is one line."""
    return text.translate(_ENDS)


def without_commands(text: str) -> str:
    """Return a text in which nothing is a command to a terminal; names and titles from outside may hold some."""
    return text.translate(_COMMANDS)


def fitting(text: str, encoding: str | None, errors: str = REPLACE) -> str:
    """Return a text with what an encoding lacks replaced; `errors` is one of this module's handlers, or Python's."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, errors).decode(encoding)


def duration(seconds: float | None) -> str:
    """Write seconds as people do: ``42 s``, ``7 min``, ``3 h 05 min``."""
    if seconds is None:
        return "–"
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
