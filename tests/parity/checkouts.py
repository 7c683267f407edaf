"""Modules of the authors' checkouts, imported from the folder that ``BENCH_PARITY`` names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

VARIABLE = "BENCH_PARITY"
NAMES = ("reco", "classmix", "cutmix-semisup-seg")
_OWN = ("module_list", "build_data", "network", "utils", "data", "model")  # names that checkouts share


def checkout(name: str) -> Path | None:
    """Return the folder of a checkout; None where there is none."""
    folder = os.environ.get(VARIABLE)
    path = Path(folder) / name if folder else None
    return path if path is not None and path.is_dir() else None


def missing(name: str) -> str:
    """Return why a comparison is left out."""
    return f"no checkout of {name}: {VARIABLE}={os.environ.get(VARIABLE) or ''} names no folder with {name}/"


@contextmanager
def imported(name: str, *modules: str) -> Iterator[tuple[ModuleType, ...]]:
    """Import modules of a checkout by their dotted names, and forget them afterwards."""
    path = checkout(name)
    assert path is not None, missing(name)
    before = set(sys.modules)
    sys.path.insert(0, str(path))
    try:
        yield tuple(importlib.import_module(module) for module in modules)
    finally:
        sys.path.remove(str(path))
        for loaded in set(sys.modules) - before:
            if loaded.split(".")[0] in _OWN:
                del sys.modules[loaded]


def from_file(name: str, file: str) -> ModuleType:
    """Import one file of a checkout that needs nothing of its neighbours."""
    path = checkout(name)
    assert path is not None, missing(name)
    spec = importlib.util.spec_from_file_location(f"parity_{Path(file).stem}", path / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
