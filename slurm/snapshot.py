"""A snapshot of the code for jobs that start later: what runs is what was there at submission, whatever the tree becomes."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path

from bench.files import REPOSITORY, write_json
from bench.registry import plugin_paths
from bench.run.provenance import SNAPSHOT, code_state

ROOMS = ("bench", "methods", "datasets", "slurm")
SUFFIXES = {".py", ".yaml", ".sh"}


def _files() -> dict[str, Path]:
    """Return the code by its path in the snapshot: the rooms, and plug-ins from anywhere."""
    found = [p for room in ROOMS for p in sorted((REPOSITORY / room).rglob("*")) if p.suffix in SUFFIXES]
    files = {str(p.relative_to(REPOSITORY)): p for p in [REPOSITORY / "bench.py", *found]}
    for number, path in enumerate(plugin_paths()):
        files[f"plugins/{number}/{path.name}"] = path.resolve()
    return files


def take(folder: Path) -> Path:
    """Copy the code into `folder`, under a name made of its content; the same code is copied once.

    Raises:
        OSError: if it can't be written.
    """
    files = _files()
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    target = folder / digest.hexdigest()[:16]
    if target.is_dir():
        return target
    temporary = folder / f".{target.name}.{uuid.uuid4().hex[:8]}"
    for name, path in files.items():
        copy = temporary / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    write_json(temporary / SNAPSHOT, {**code_state(), "snapshot": target.name})
    try:
        temporary.rename(target)
    except OSError:  # another submission was faster
        shutil.rmtree(temporary)
    return target


def environment(snapshot: Path) -> dict[str, str]:
    """Return the variables by which a job runs the snapshot, and nothing installed under the same names."""
    plugins = sorted((snapshot / "plugins").glob("*/*.py"), key=lambda p: int(p.parent.name))
    variables = {"PYTHONPATH": str(snapshot), "PYTHONSAFEPATH": "1"}
    if plugins:
        variables["BENCH_PLUGINS"] = os.pathsep.join(map(str, plugins))
    return variables
