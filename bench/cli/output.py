"""What verbs print: text for people, in which nothing is taken for markup, and its JSON twin for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.text import ESCAPE, REPLACE, fitting, without_commands
from bench.text import duration as duration

if TYPE_CHECKING:
    from rich.console import Console

    from bench.store.throughput import Projection


def console(stderr: bool = False) -> Console:
    """Return a console; in a pipe it writes plain text, as wide as it needs.

    Square brackets are printed as they stand: names, titles, paths and reasons may contain them; so may they commands to a
    terminal, which are not carried out. Styles are given as ``style=`` or as ``rich.text.Text``.
    """
    from bench.cli.plain_console import PlainConsole

    stream = sys.stderr if stderr else sys.stdout
    return PlainConsole(file=stream, width=None if stream.isatty() else 160)


def emit(text: str, errors: str = REPLACE) -> None:
    """Write a text to standard output; `errors` says what is done about characters that its encoding lacks."""
    sys.stdout.write(fitting(without_commands(text), sys.stdout.encoding, errors))


def deliver(text: str, output: Path | None, errors: str = REPLACE) -> None:
    """Write a text to a file, in UTF-8, or to standard output where there is none; `errors` as for :func:`emit`."""
    if output is None:
        emit(text, errors)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(without_commands(text).encode(errors=errors))
    console().print(f"wrote {output}")


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    emit(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n", ESCAPE)


def counted(number: int, noun: str) -> str:
    """Write ``1 cell``, ``2 cells``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_text(size: int) -> str:
    """Write a number of bytes: ``1.5 GB``, ``250 MB``, ``1.5 kB``, ``12 bytes``."""
    for unit, name, digits in ((10**9, "GB", 1), (10**6, "MB", 0), (10**3, "kB", 1)):
        if size >= unit:
            return f"{size / unit:.{digits}f} {name}"
    return f"{size} bytes"


def projection_text(projection: Projection) -> str:
    """Say how long cells will take, as far as their throughput is known."""
    if not projection.cells:
        return "no throughput known yet (`speed` measures it)"
    hardware = " and ".join(projection.hardware)
    text = f"about {duration(projection.seconds)} one after the other, at the throughput of {hardware}"
    return text + (f"; {projection.unknown} more cells whose throughput isn't known yet" if projection.unknown else "")


def print_warnings(out: Console, warnings: list[str]) -> None:
    """Print what a person should know of a grid's data."""
    for line in warnings:
        out.print(f"note: {line}")
