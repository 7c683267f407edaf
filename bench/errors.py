"""Errors that a user can act on: one clear line, exit code 2, never a traceback."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator

from bench.text import cut


class BenchError(Exception):
    """Bad input. The message says what is wrong, where (file, key or cell) and what to do."""


class MachineError(BenchError):
    """Nothing is wrong with the input, but this machine can't do it: another one may."""


class Damaged(BenchError, ValueError):  # noqa: N818 (a finding, not a mistake)
    """A file's content isn't what was written, or what lies in its place is no file.

    Args:
        path: the file.
        why: in a few words, on one line: `empty`, `a folder`, `not JSON (…)`.
        what: is said of it before that.
    """

    def __init__(self, path: str | os.PathLike[str], why: str, what: str = "damaged") -> None:
        super().__init__(f"{os.fspath(path)}: {what} ({why})")
        self.path, self.why = os.fspath(path), why


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it came from: a library that fails to write may raise something of its own."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and not any(found is one for one in seen):
        yield found
        seen.append(found)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice nearest to `word`, or an empty string."""
    match = difflib.get_close_matches(cut(word), list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def unknown(what: str, word: str, choices: Iterable[str]) -> BenchError:
    """Return the error for an unknown name: what it is, what is allowed and the nearest match."""
    allowed = sorted(choices)
    hint = "; for a folder of your own: data init DIR" if what == "dataset" else ""
    return BenchError(
        f"unknown {what} '{cut(word)}'{nearest(word, allowed)}; allowed: {', '.join(allowed) or 'none'}{hint}"
    )
