# ruff: noqa: E402
"""Adds the page of all keys to the documentation, generated from the models when it is built."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).parents[1])
sys.path.insert(0, _ROOT)  # mkdocs takes it away again when this is imported

from bench import registry
from bench.errors import BenchError
from bench.spec.cell import SECTIONS
from bench.spec.keys import Key, grid_keys

_OF_ITS_OWN = {*SECTIONS, "resources", "published", "tune"}
_HEAD = """# Every key of a grid

Made from the models that read a grid. `python bench.py list keys --grep TEXT` prints the same, with your plug-ins.
A cell's id is made of what may change its result: the last column says whether a key is part of it, always or only where it
differs from its default. `[]` stands for an entry of a list, `NAME` for a name.
"""


def on_files(files: Any, config: Any) -> Any:
    """Add ``keys.md``.

    Raises:
        BenchError: if a module of the harness can't be imported, whose keys would be missing.
    """
    from mkdocs.structure.files import File

    sys.path.insert(0, _ROOT)
    files.append(File.generated(config, "keys.md", content="\n".join(_page())))
    if registry.failures:
        raise BenchError("; ".join(f"{path}: {why}" for path, why in registry.failures.items()))
    return files


def _page() -> Iterator[str]:
    yield _HEAD
    part = ""
    for (section, of), keys in groupby(grid_keys(), key=lambda key: (_section(key), key.of)):
        rows = list(keys)
        if section != part:
            part = section
            yield f"\n## {section.capitalize()}{'s' if of else ''}\n"
        if of:
            name, *rows = rows
            yield f"\n### {section}: {of}\n\n{_cell(name.about)}\n"
        if rows:
            yield "\n| key | type | default | meaning | part of the id |\n|---|---|---|---|---|"
        for row in rows:
            default = f"`{row.default}`" if row.default else ""
            yield f"| `{row.key}` | {_cell(row.type)} | {default} | {_cell(row.about)} | {row.identity} |"


def _section(key: Key) -> str:
    first = key.key.partition(".")[0]
    return first if key.of or first in _OF_ITS_OWN else "the recipe's seed" if first == "seed" else "the grid's file"


def _cell(text: str) -> str:
    """Return a text that stays within its cell of a table, and is no markup."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("[", "\\[") if text else ""
