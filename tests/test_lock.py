"""The two files of versions hold the same, and every package that the project asks for."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ALONE = "trackio"  # an extra that needs another version of a package than the rest


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _constraints() -> dict[str, str]:
    lines = [line.partition(";")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return {_canonical(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}


def _without(packages: list[dict[str, Any]], own: dict[str, Any], extra: str) -> dict[str, str]:
    """Return the versions of all that the project needs, with all of its extras but one."""
    of_name: dict[str, list[dict[str, Any]]] = {}
    for package in packages:
        of_name.setdefault(package["name"], []).append(package)
    open_, found = [one for name, more in own["optional-dependencies"].items() if name != extra for one in more], {}
    open_ += own["dependencies"]
    while open_:
        asked = open_.pop()
        only = asked.get("marker", "").split(" or ")
        if all(f"-{extra}'" in part and "==" in part for part in only):
            continue  # where that extra alone is installed
        (package,) = (one for one in of_name[asked["name"]] if one["version"] == asked.get("version", one["version"]))
        more = [
            dep for name in asked.get("extra", ()) for dep in package.get("optional-dependencies", {}).get(name, ())
        ]
        if (name := _canonical(asked["name"])) not in found or more:
            open_ += more
        if name not in found:
            found[name] = package["version"]
            open_ += package.get("dependencies", [])
    return found


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
def test_pip_and_uv_install_the_same() -> None:
    import tomllib

    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = {_canonical(package["name"]): package for package in lock["package"]}
    own = locked.pop("semisegbench")
    assert _constraints() == _without(lock["package"], own, ALONE)

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
