"""The code of a plug-in as a hash: its file, and the files of its own that it imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bench.files import REPOSITORY

DIGITS = 16  # hexadecimal digits of SHA-256


@cache
def code_hash(path: Path) -> str:
    """Return the first digits of a SHA-256 of a plug-in's code.

    It covers the file and, through every import in it, also within functions, the files that are neither part of this
    harness nor of an installed package nor of Python; not what they read otherwise. Of an installed package it covers all
    of its files. It doesn't depend on where they lie.

    Args:
        path: the plug-in's file, or the folder of a package.
    """
    digest = hashlib.sha256()
    files = {p.relative_to(path).as_posix(): p for p in path.rglob("*.py")} if path.is_dir() else _reached(path)
    for name, file in sorted(files.items()):
        digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:DIGITS]


def _reached(path: Path) -> dict[str, Path]:
    """Return the plug-in's file, under the name "", and those that it imports, directly or not, by their modules' names."""
    found, todo = {"": path}, [path]
    while todo:
        file = todo.pop()
        for name in _imports(file):
            origin = _origin(name) if name not in found and _may_be_own(name) else None
            if origin is not None and _is_own(origin):
                found[name] = origin
                todo.append(origin)
    return found


def _imports(path: Path) -> Iterator[str]:
    """Yield the names that a file imports by absolute imports: modules, and what may be a module of a package."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # it can't be imported either
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _origin(name: str) -> Path | None:
    """Return the file of a module; None where it has none, or isn't one."""
    try:
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None) if module is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    origin = getattr(spec, "origin", None)
    return Path(origin) if origin and origin.endswith(".py") else None


def _may_be_own(name: str) -> bool:
    """Tell by a module's first name whether it can be the user's own; spares looking for parts of large packages."""
    package, dot, _ = name.partition(".")
    origin = _origin(package) if dot else None
    return origin is None or _is_own(origin)


@cache
def _foreign_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in names})


def _is_own(file: Path) -> bool:
    """Tell whether a file is the user's own: not of this harness, of Python, or of an installed package."""
    resolved = file.resolve()
    harness = tuple(REPOSITORY / room for room in ("bench", "methods", "datasets", "slurm"))
    installed = "site-packages" in resolved.parts or "dist-packages" in resolved.parts
    return not installed and not any(resolved.is_relative_to(folder) for folder in (*harness, *_foreign_folders()))
