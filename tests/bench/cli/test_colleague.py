"""The store of a colleague: it may be looked at by who can't write it, and what would write it says so in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench.files import REPOSITORY
from slurm import records
from slurm.records import Array, Submission
from tests.conftest import GRID
from tests.typed import bench

NOBODY = 65534
Verb = Callable[..., subprocess.CompletedProcess[str]]
# Root may write everywhere until its capabilities are gone; it is a user like any other then.
AS_ANYBODY = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
MOUNTED = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of another user, with a run that is done and a record of its submission, whose variables are secret."""
    folder = tmp_path_factory.mktemp("colleague")
    (folder / "small.yaml").write_text(GRID)
    (folder / "other.yaml").write_text(GRID.replace("seed: [0]", "seed: [0, 1]"))  # nobody has planned it there
    found = folder / "store"
    bench("run", str(folder / "small.yaml"), "--store", str(found))
    (cell,) = (path.parent.name for path in found.glob("*/cell.json"))
    secret = records.keep_variables(records.folder(found) / "s" / "environment-0.sh", {"TOKEN": "s3cret"})
    Submission("s", "small", "", [Array("bench-s-0", [cell], {}, 1, variables=secret)], "here", {}, {}).write(found)
    for path in [found, *found.rglob("*")]:
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        elif path != Path(secret):
            path.chmod(0o555 if path.is_dir() else 0o444)
    yield found
    for path in found.rglob("*"):
        with suppress(OSError):
            path.chmod(0o755)


@pytest.fixture(params=["another user's", "mounted read-only"])
def verb(request: pytest.FixtureRequest, store: Path) -> Verb:
    """Run a verb on a grid of the store as somebody who can't write it."""
    before: tuple[str, ...] = () if os.getuid() else AS_ANYBODY
    if request.param == "mounted read-only":
        before = ("unshare", "-m", "sh", "-c", MOUNTED, str(store))
        if os.getuid() or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here")
    elif before and shutil.which(before[0]) is None:
        pytest.skip("no setpriv")

    def run(name: str, grid: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(REPOSITORY / "bench.py"), name, str(store.parent / f"{grid}.yaml"), *more]
        return subprocess.run(
            [*before, *command, "--store", str(store)], capture_output=True, encoding="utf-8", check=False
        )

    return run


def content(store: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("grid", ["small", "other"])
def test_it_is_looked_at_as_ones_own(store: Path, verb: Verb, grid: str, tmp_path: Path) -> None:
    before = content(store)
    said = {}
    for words in (("status", "--json"), ("status",), ("table",), ("table", "--runs"), ("describe",)):
        done = verb(words[0], grid, *words[1:])
        assert (done.returncode, done.stderr) == (0, ""), (words, done.stderr)
        said[words] = done.stdout
    states = [row["state"] for row in json.loads(said["status", "--json"])["cells"]]
    assert states == ["done", *(["pending"] if grid == "other" else [])]
    assert f"Runs: 1 of {len(states)} done" in said["table",]
    assert len(said["table", "--runs"].splitlines()) == 1 + len(states)
    done = verb("bundle", grid, "-o", str(tmp_path / "b.zip"))
    assert done.returncode == 0 and (tmp_path / "b.zip").is_file(), done.stderr
    assert content(store) == before


@pytest.mark.parametrize(
    "words", [("run",), ("submit", "--profile", "local", "--yes"), ("cancel", "--yes"), ("wait",)], ids=" ".join
)
def test_what_would_write_it_says_so_in_one_line(store: Path, verb: Verb, words: tuple[str, ...]) -> None:
    done = verb(words[0], "small", *words[1:])
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {store}") and line.endswith(("Permission denied", "Read-only file system"))
