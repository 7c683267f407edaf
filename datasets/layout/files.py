"""Lists, class names, paths that stay in their folder, and work done on threads. Each failure names its file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TypeVar

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from bench.patience import read_bytes
from datasets.base import Progress

_LINE_END = re.compile(r"\r\n|\r|\n")
T = TypeVar("T")
R = TypeVar("R")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file without blanks and tabs around them, blank ones included.

    Any line ending, with or without a BOM. Other characters that Unicode counts as white space or as the end of a line may
    be part of a name.

    Raises:
        BenchError: if the file is missing, can't be read or isn't UTF-8.
    """
    try:
        lines = [line.strip(" \t") for line in _LINE_END.split(read_bytes(path).decode("utf-8-sig"))]
    except FileNotFoundError:
        raise BenchError(f"{path}: there is no such file") from None
    except UnicodeDecodeError:
        raise BenchError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise BenchError(f"{path}: can't be read ({error.strerror})") from None
    return lines if lines[-1] else lines[:-1]


def read_classes(path: Path) -> tuple[str, ...]:
    """Return class names, one a line, in index order.

    Raises:
        BenchError: if a name is blank or given twice, or if there are none or more than 255.
    """
    names = read_lines(path)
    while names and not names[-1]:
        names.pop()
    for number, name in enumerate(names, 1):
        if not name:
            raise BenchError(
                f"{path}: line {number} is blank; the line's number is the class index, so name every class"
            )
        if name in names[: number - 1]:
            raise BenchError(f"{path}: line {number} names class '{name}' a second time; names must differ")
    if not 0 < len(names) <= IGNORE_INDEX:
        raise BenchError(f"{path}: {len(names)} classes; there must be 1 to {IGNORE_INDEX}, one name a line")
    return tuple(names)


def reason(error: BaseException) -> str:
    """Return an error's message in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def escapes(text: str) -> bool:
    """Return whether a relative path could leave the folder that it is joined to."""
    path = PurePosixPath(text)
    return path.is_absolute() or ".." in path.parts or "\\" in text or "\0" in text


def illegal_labels(histogram: Sequence[int], num_classes: int) -> list[int]:
    """Return the label values of a mask's histogram (256,) that are neither a class index nor void."""
    return [value for value in range(num_classes, IGNORE_INDEX) if histogram[value]]


def on_threads(work: Callable[[T], R], items: Sequence[T], progress: Progress | None = None) -> list[R]:
    """Return ``[work(item) for item in items]``, done on threads (Pillow decodes without the GIL).

    An exception of `work`, or Ctrl-C, is raised at once and drops the work that has not begun.
    """
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    results = []
    try:
        for result in pool.map(work, items):
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
