"""What an attempt records of its code: plug-ins, their commits, and a hash that tells changes apart."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from bench.run import doctor, provenance
from slurm import snapshot


def _git(folder: Path, *arguments: str) -> None:
    own = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b"}
    own |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    subprocess.run(["git", *arguments], cwd=folder, env=own, check=True, capture_output=True)


def _plugins(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", os.pathsep.join(map(str, paths)))


def test_plugins_are_recorded_by_name_with_their_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "one" / "mine.py", tmp_path / "two" / "mine.py", tmp_path / "two" / "other.py"]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"x = {number}\n")
    _plugins(monkeypatch, *paths, tmp_path / "gone.py")
    found = provenance.describe()
    digests = [hashlib.sha256(f"x = {number}\n".encode()).hexdigest() for number in range(3)]
    assert found["plugins"] == dict(zip(("mine.py", "mine.py 2", "other.py"), digests, strict=True))
    assert {"timm", "simplejpeg"} <= set(found["packages"])  # type: ignore[call-overload]


def test_a_plugin_makes_the_code_dirty_until_it_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own" / "mine.py"
    path.parent.mkdir()
    path.write_text("x = 1\n")
    _plugins(monkeypatch, path)
    said = [provenance._uncommitted(path)]  # in no repository
    _git(path.parent, "init", "-q")
    said.append(provenance._uncommitted(path))  # untracked
    _git(path.parent, "add", "mine.py")
    said.append(provenance._uncommitted(path))  # added, in no commit
    _git(path.parent, "commit", "-qm", "x")
    said.append(provenance._uncommitted(path))
    path.write_text("x = 2\n")
    said.append(provenance._uncommitted(path))  # changed
    assert said == [True, True, True, False, True]
    assert provenance.code_state()["git_dirty"] is True
    assert provenance._uncommitted(tmp_path / "nowhere" / "mine.py")


def test_the_hash_of_the_code_sees_what_computes_and_is_the_same_in_a_snapshot(tmp_path: Path) -> None:
    here = provenance.code_digest()
    copied = snapshot.take(tmp_path)
    assert provenance.code_digest(copied) == here
    with (copied / "bench" / "report" / "rows.py").open("a") as file:
        file.write("# shows only\n")
    assert provenance.code_digest(copied) == here
    with (copied / "methods" / "classmix.py").open("a") as file:
        file.write("# computes\n")
    assert provenance.code_digest(copied) != here


def test_variables_that_choose_kernels_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in provenance.KERNEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert provenance.describe()["kernel_variables"] == {}
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert provenance.describe()["kernel_variables"] == {"NVIDIA_TF32_OVERRIDE": "1"}


def test_a_snapshot_says_of_its_plugins_what_was_true_when_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    _plugins(monkeypatch, path)
    hashes = provenance.plugin_hashes()
    made = snapshot.take(tmp_path / "code")
    path.write_text("x = 2\n")
    monkeypatch.setenv("BENCH_PLUGINS", snapshot.environment(made)["BENCH_PLUGINS"])
    monkeypatch.setattr(provenance, "REPOSITORY", made)
    assert provenance.plugin_hashes() == hashes
    assert (provenance.code_state()["git_dirty"], provenance.code_state()["snapshot"]) == (True, made.name)


def test_a_checkout_of_another_owner_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    assert provenance.git_problem(checkout) is None  # there is none
    _git(checkout, "init", "-q")
    assert "ambiguous argument 'HEAD'" in str(provenance.git_problem(checkout))  # no commit yet
    _git(checkout, "commit", "--allow-empty", "-qm", "x")
    assert provenance.git_problem(checkout) is None
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    found = str(provenance.git_problem(checkout))
    assert "whose owner is another user (uid " in found and "\n" not in found
    assert f"git config --global --add safe.directory {checkout}" in found
    monkeypatch.delenv("BENCH_PLUGINS")
    monkeypatch.setattr(provenance, "REPOSITORY", checkout)
    monkeypatch.setattr(provenance._git, "__kwdefaults__", {"folder": checkout})
    monkeypatch.setattr(provenance.git_problem, "__defaults__", (checkout,))
    assert provenance.code_state() == {"git_sha": None, "git_dirty": None, "git_problem": found}
    (check,) = doctor._code()
    assert check == {"name": "code", "verdict": "note", "detail": found}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in str(provenance.git_problem(checkout))
