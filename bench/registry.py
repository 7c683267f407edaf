"""The registry: methods, networks, datasets, protocols, augmentations and loss probes, found by their file's existence.

A plug-in is one Python file anywhere, named in the environment variable ``BENCH_PLUGINS`` (paths separated by ``:``), or a
module of an installed package that names it as an entry point of the group ``semisegbench``.
A file that fails to import does not hurt the others, be it a plug-in or one of the harness's own: its error is kept in
:data:`failures` and shown by ``list`` and ``doctor``, and where a name isn't found.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args

from bench.errors import BenchError, unknown

Kind = Literal["method", "network", "dataset", "protocol", "augmentation", "probe"]
C = TypeVar("C", bound=type)

# Where the entries of each kind live: a package (all of its public modules) or one module.
HOMES: dict[Kind, str] = {
    "method": "methods",
    "network": "methods.networks",
    "dataset": "datasets",
    "protocol": "datasets.protocols",
    "augmentation": "datasets.augmentation",
    "probe": "methods.losses.probes",
}
ENTRY_POINTS = "semisegbench"  # the group in which installed packages name modules that register something
# Modules that run cells elsewhere than on this machine; each offers a ``BACKEND`` to the command line.
BACKENDS = ("slurm.cli",)


@dataclass(frozen=True)
class Entry:
    """One registered class.

    Attributes:
        kind, name: what it is, and its name.
        cls: the class.
        summary: the first line of its docstring.
        plugin: the plug-in's file that registered it, or the folder of an installed package; None for the harness's own.
    """

    kind: Kind
    name: str
    cls: Any
    summary: str
    plugin: Path | None = None


_entries: dict[tuple[Kind, str], Entry] = {}
_loaded: set[str] = set()
_loading: list[Path] = []  # the plug-in that is being imported
failures: dict[str, str] = {}


def register(kind: Kind, name: str) -> Callable[[C], C]:
    """Class decorator that enters a class under `name`.

    Raises:
        BenchError: if another class already has this name, or its options are no ``Config``.
    """

    def enter(cls: C) -> C:
        from bench.config import Config  # late: `--help` registers nothing, and must not wait for pydantic

        old = _entries.get((kind, name))
        if old is not None and (old.cls.__module__, old.cls.__qualname__) != (cls.__module__, cls.__qualname__):
            there, here = old.plugin or old.cls.__module__, _plugin_of(cls) or cls.__module__
            raise BenchError(f"{kind} '{name}' is registered twice: in {there} and in {here}")
        config = getattr(cls, "Config", None)
        if not (isinstance(config, type) and issubclass(config, Config)):
            raise BenchError(
                f"{kind} '{name}': its Config, which holds its options, must derive from bench.config.Config"
            )
        lines = (cls.__doc__ or "").strip().splitlines()
        _entries[kind, name] = Entry(kind, name, cls, lines[0] if lines else "", _plugin_of(cls))
        return cls

    return enter


def _plugin_of(cls: type) -> Path | None:
    """Return the plug-in that brings a class: not those of the harness that a plug-in happens to be the first to import."""
    own = {home.partition(".")[0] for home in HOMES.values()}
    return _loading[-1] if _loading and cls.__module__.partition(".")[0] not in own else None


def _load_home(kind: Kind) -> None:
    home = HOMES[kind]
    if home in _loaded:
        return
    _loaded.add(home)
    package = _import(home, home.replace(".", "/"))
    if package is None or not hasattr(package, "__path__"):
        return
    others = set(HOMES.values()) - {home}
    for info in pkgutil.iter_modules(package.__path__):
        module = f"{home}.{info.name}"
        if not info.name.startswith("_") and module not in others and not info.ispkg:
            _import(module, f"{module.replace('.', '/')}.py")


def _import(module: str, path: str) -> ModuleType | None:
    """Import a module; one that fails is left out, with its error in :data:`failures`, and hurts no other."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever a file in the making raises, SyntaxError included
        failures[path] = _described(error)
        return None


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def plugin_paths() -> list[Path]:
    """Return the plug-in files named in ``BENCH_PLUGINS``."""
    return [Path(p) for p in os.environ.get("BENCH_PLUGINS", "").split(os.pathsep) if p]


def _load_plugins() -> None:
    _load_files()
    _load_installed()


def _load_installed() -> None:
    """Import the modules that installed packages name as entry points."""
    if ENTRY_POINTS in _loaded:
        return
    _loaded.add(ENTRY_POINTS)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            package = importlib.util.find_spec(point.module.partition(".")[0])
            if package is None or package.origin is None:
                raise ImportError(f"there is no module {point.module}")
            _loading.append(Path(package.origin).parent if package.submodule_search_locations else Path(package.origin))
            importlib.import_module(point.module)
        except Exception as error:  # as of any plug-in
            failures[f"entry point {point.name} = {point.value}"] = _described(error)
        finally:
            _loading.clear()


def _load_files() -> None:
    for path in plugin_paths():
        name = f"bench_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
        if name in _loaded:
            continue
        _loaded.add(name)
        try:
            spec = importlib.util.spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                raise ImportError("not a Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            _loading.append(path)
            spec.loader.exec_module(module)
        except Exception as error:  # a plug-in is foreign code: whatever it raises is kept and shown
            failures[str(path)] = _described(error)
        finally:
            _loading.clear()


def names(kind: Kind) -> list[str]:
    """Return the sorted names registered under `kind`."""
    return [entry.name for entry in entries(kind)]


def entries(kind: Kind) -> list[Entry]:
    """Return the entries of one kind, sorted by name."""
    _load_home(kind)
    _load_plugins()
    return sorted((e for (k, _), e in _entries.items() if k == kind), key=lambda e: e.name)


def get(kind: Kind, name: str) -> Any:
    """Return the class registered as `name`.

    Raises:
        BenchError: naming the allowed names and the nearest match, and plug-ins that failed to import.
    """
    _load_home(kind)
    if (kind, name) not in _entries:
        _load_plugins()
    if (kind, name) not in _entries:
        error = unknown(kind, name, names(kind))
        broken = "".join(f"; {path} can't be imported: {why}" for path, why in failures.items())
        raise BenchError(f"{error}{broken}")
    return _entries[kind, name].cls


def code_of(kind: Kind, name: str) -> str | None:
    """Return what stands for the code of a plug-in's class in a cell's id; None for the harness's own, and for datasets.

    That is the hash of the plug-in's code, so that a changed plug-in makes other runs. Of a dataset it is what its files
    contain that counts. A class whose plug-in changed in
    nothing that moves a result says so with ``same_results_as = HASH``, the hash from before, which then goes on to stand
    for it.

    Raises:
        BenchError: if there is no such class, or what it says is no hash.
    """
    cls = get(kind, name)
    plugin = _entries[kind, name].plugin
    if plugin is None or kind == "dataset":
        return None
    from bench.plugin_code import DIGITS, code_hash  # late: most processes have no plug-in

    said = vars(cls).get("same_results_as")
    if said is None:
        return code_hash(plugin.resolve())
    if not (isinstance(said, str) and re.fullmatch(rf"[0-9a-f]{{{DIGITS}}}", said)):
        raise BenchError(
            f"{kind} '{name}': same_results_as must be the {DIGITS} hexadecimal digits of an earlier hash of it"
        )
    return said


def kinds() -> tuple[Kind, ...]:
    """Return every kind of entry."""
    return get_args(Kind)


def backend_modules() -> list[ModuleType]:
    """Import and return the modules of :data:`BACKENDS`."""
    return [importlib.import_module(name) for name in BACKENDS]
