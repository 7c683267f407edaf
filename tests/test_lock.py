"""The two files of versions hold the same, and every package that the project asks for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _constraints() -> dict[str, str]:
    lines = [line.partition(";")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return {_canonical(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
def test_pip_and_uv_install_the_same() -> None:
    import tomllib

    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = {_canonical(package["name"]): package for package in lock["package"]}
    own = locked.pop("semisegbench")
    assert _constraints() == {name: package["version"] for name, package in locked.items()}

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    names = {_canonical(match.group()) for line in wanted if (match := re.match(r"[\w.-]+", line))}
    assert names - {"semisegbench"} <= set(locked)
    asked = {(_canonical(one["name"]), one.get("specifier", "")) for one in own["metadata"]["requires-dist"]}
    for line in wanted:
        name, specifier = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(.*)", line).groups()  # type: ignore[union-attr]
        assert _canonical(name) == "semisegbench" or (_canonical(name), specifier) in asked, (
            f"make lock: {line} changed"
        )
