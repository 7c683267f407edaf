"""Modules of the authors' checkouts, imported from the folder that ``BENCH_PARITY`` names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

VARIABLE = "BENCH_PARITY"
NAMES = ("reco", "classmix", "cutmix-semisup-seg", "unimatch", "torchsemiseg", "u2pl")


def checkout(name: str) -> Path | None:
    """Return the folder of a checkout; None where there is none."""
    folder = os.environ.get(VARIABLE)
    path = Path(folder) / name if folder else None
    return path if path is not None and path.is_dir() else None


def missing(name: str) -> str:
    """Return why a comparison is left out."""
    return f"no checkout of {name}: {VARIABLE}={os.environ.get(VARIABLE) or ''} names no folder with {name}/"


@contextmanager
def imported(name: str, *modules: str, within: Sequence[str] = (".",)) -> Iterator[tuple[ModuleType, ...]]:
    """Import modules of a checkout by their dotted names, and forget them afterwards; `within` it, from these folders."""
    path = checkout(name)
    assert path is not None, missing(name)
    _forget(path)  # what another script that still runs has loaded
    search = [str((path / folder).resolve()) for folder in within]
    sys.path[:0] = search
    try:
        yield tuple(importlib.import_module(module) for module in modules)
    finally:
        for folder in search:
            sys.path.remove(folder)
        _forget(path)


def _forget(path: Path) -> None:
    """Forget the modules that lie in a checkout."""
    places = {loaded: _place(module) for loaded, module in sys.modules.items()}
    for loaded, place in places.items():
        if place.startswith(str(path.resolve())):
            del sys.modules[loaded]


def _place(module: ModuleType) -> str:
    """Return where a module or a namespace package lies; nothing for what lies nowhere."""
    return str(getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), ""))


def from_file(name: str, file: str) -> ModuleType:
    """Import one file of a checkout that needs nothing of its neighbours."""
    path = checkout(name)
    assert path is not None, missing(name)
    spec = importlib.util.spec_from_file_location(f"parity_{Path(file).stem}", path / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
