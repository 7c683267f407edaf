"""Files of text are read and written in an encoding that is named: that of the terminal says nothing about files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.floors import modules


def _named(call: ast.Call, place: int) -> bool:
    return len(call.args) > place or any(keyword.arg == "encoding" for keyword in call.keywords)


def _is_mode_of_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and not set(node.value) - set("rwax+t")


def unnamed(source: str) -> Iterator[int]:
    """Yield the lines of calls that leave the encoding to the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        wrong = {
            "read_text": not _named(node, 0) and isinstance(node.func, ast.Attribute),
            "write_text": not _named(node, 1),
            "open": not _named(node, 9) and bool(node.args) and _is_mode_of_text(node.args[0]),
        }.get(name, False)
        if wrong:
            yield node.lineno


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_encoding_is_named(module: str) -> None:
    path: Path = modules()[module]
    lines = list(unnamed(path.read_text("utf-8")))
    assert not lines, f"{path}: lines {lines}: name the encoding (utf-8)"


def test_what_is_looked_for_is_found() -> None:
    wrong = ["p.read_text()", "p.write_text(x)", 'p.open("w")', 'p.open("a+")']
    right = [
        'p.read_text("utf-8")',
        'p.write_text(x, encoding="utf-8")',
        'p.open("rb")',
        "os.open(p, 1)",
        'run(c, encoding="x")',
    ]
    assert [list(unnamed(one)) for one in wrong] == [[1]] * len(wrong)
    assert [list(unnamed(one)) for one in right] == [[]] * len(right)
