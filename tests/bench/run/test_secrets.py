"""What a run writes: files with the modes that the umask asks for, and nothing of the environment that may be a secret."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.typed import typed

SECRET = "s3cret-4f1a"
VARIABLES = ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL", "PASSWORD")


def bench(umask: int, *arguments: str) -> None:
    done = typed(*arguments, variables=dict.fromkeys(VARIABLES, SECRET), umask=umask)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_files_have_the_modes_of_the_umask_and_hold_no_secret(tmp_path: Path, grid_file: Path) -> None:
    """A group that shares a store needs what its umask says, and nobody else sees more than that."""
    store, umask = tmp_path / "store", 0o027
    bench(umask, "run", str(grid_file), "--store", str(store))
    bench(umask, "frame", str(grid_file), "--store", str(store), "--output", str(tmp_path / "runs.csv"))
    bench(umask, "bundle", str(grid_file), "--store", str(store), "--output", str(tmp_path / "a.zip"))
    bench(umask, "merge", str(tmp_path / "a.zip"), "--store", str(tmp_path / "other"))
    whole = [store, *store.rglob("*"), tmp_path / "runs.csv", tmp_path / "a.zip"]
    whole += [path for path in (tmp_path / "other").rglob("*") if ".merge-" not in path.name]
    assert len(whole) > 40
    wrong = {str(path): oct(mode) for path in whole if (mode := path.stat().st_mode & 0o777) != _mode(path, umask)}
    assert wrong == {}
    texts = [path.read_bytes() for path in whole if path.is_file()]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        texts += [archive.read(name) for name in archive.namelist()]
    assert not [text for text in texts if SECRET.encode() in text]


def _mode(path: Path, umask: int) -> int:
    return (0o777 if path.is_dir() else 0o666) & ~umask
