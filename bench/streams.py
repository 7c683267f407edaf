"""Standard input, output and error of a process, whatever state it was started with them in."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from bench.text import REPLACE, cut, in_one_line, without_commands


def make_usable() -> None:
    """Give a process that was started with closed streams some that lead nowhere; what one can't encode is replaced.

    A file that is opened later would otherwise get the number of a closed stream, and be written to by whoever prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - open till the end
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors=REPLACE)


LONGEST = 4000  # characters of an error's line


def say(text: str) -> None:
    """Write a line, or a traceback, to standard error; there is nobody to tell where that fails."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{without_commands(text)}\n")
        sys.stderr.flush()


def say_error(error: object) -> None:
    """Say what is wrong, in one line, whatever it quotes."""
    say(f"error: {in_one_line(cut(str(error), LONGEST))}")


def drop() -> None:
    """Drop what standard output still holds back where it can't be written; the interpreter would try once more."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
