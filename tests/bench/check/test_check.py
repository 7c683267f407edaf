"""`check` finds nothing wrong with what ships, and in each broken part the one thing that is wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.check.outcomes import Check, Outcome, outcomes
from bench.check.toy import ToyImages
from bench.cli.check import Kind, _checks
from bench.files import REPOSITORY
from tests.conftest import TOY
from tests.typed import typed

TINY = {"dpt": "timm/test_vit"}
BROKEN = Path(__file__).with_name("broken.py")


def found(kind: str, name: str, sets: list[str] | None = None, data: list[str] | None = None) -> list[Outcome]:
    return list(outcomes(_checks(Kind(kind), name, sets or [], None, data or [])))


def failed(outcomes: list[Outcome]) -> list[str]:
    return [outcome.name for outcome in outcomes if outcome.verdict == "failed"]


@pytest.fixture
def _with_broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BENCH_PLUGINS", os.pathsep.join([os.environ["BENCH_PLUGINS"], str(BROKEN)]))
    yield
    for key in [key for key, entry in registry._entries.items() if entry.plugin == BROKEN]:
        del registry._entries[key]
    registry._loaded -= {name for name in registry._loaded if name.startswith("bench_plugin_broken")}


@pytest.mark.parametrize("name", registry.names("method"))
def test_every_method_keeps_its_contract(name: str) -> None:
    assert failed(found("method", name)) == []


@pytest.mark.parametrize("name", registry.names("network"))
def test_every_network_keeps_its_contract(name: str) -> None:
    backbone = TINY.get(name, "tiny")
    assert failed(found("network", name, [f"backbone={backbone}"])) == []


@pytest.mark.parametrize("name", registry.names("augmentation"))
def test_every_augmentation_keeps_its_contract(name: str) -> None:
    assert failed(found("augmentation", name, ["crop_size=48"])) == []


@pytest.mark.parametrize("name", ["toy", "synthetic"])
def test_embedded_datasets_keep_their_contract(name: str, tmp_path: Path) -> None:
    assert failed(found("dataset", name, data=[f"{name}={tmp_path}"])) == []


def broken(kind: str) -> list[str]:
    """The names of the broken parts of a kind, by the plug-in's text."""
    text = BROKEN.read_text().split(f'@register("{kind}", "')[1:]
    return [part.partition('"')[0] for part in text]


CASES = [(kind.value, name) for kind in Kind for name in broken(kind.value)]


@pytest.mark.usefixtures("_with_broken")
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_is_broken_is_found_and_nothing_else(kind: str, name: str) -> None:
    """The docstring of each says which checks it fails."""
    cls: Any = registry.get(kind, name)  # type: ignore[arg-type]
    expected = set(cls.__doc__.split(", "))
    ended = found(
        kind, name, ["backbone=tiny"] if kind == "network" else ["crop_size=48"] if kind == "augmentation" else []
    )
    not_ok = {outcome.name for outcome in ended if outcome.verdict in ("failed", "note")}
    assert not_ok == expected
    assert all(outcome.mend for outcome in ended if outcome.verdict in ("failed", "note"))
    assert all("\n" not in outcome.line for outcome in ended)
    optional = expected <= {"never waits", "has features", "can be perturbed"}
    assert bool(failed(ended)) is not optional


def test_a_hidden_mask_is_refused() -> None:
    images = ToyImages()
    assert images.mask(images.labelled[0]).shape == (48, 48)
    with pytest.raises(Exception, match="mask of the unlabelled image unlabelled0 was asked for"):
        images.mask(images.unlabelled[0])


def test_what_can_not_be_tried_is_said() -> None:
    def fail() -> str:
        raise ValueError("no")

    checks = [Check("a", lambda: "fine", ""), Check("b", fail, "mend it", first=True), Check("c", fail, "never")]
    first, second, third = outcomes(checks)
    assert (first.verdict, first.line) == ("ok", "a: fine")
    assert second.verdict == "failed" and second.line.startswith("b: ValueError: no (test_check.py, line ")
    assert second.line.endswith("; mend it")
    assert (third.verdict, third.line) == ("not tried", "c: needs 'b'")


def test_the_command_ends_with_2_and_names_the_line_of_the_plug_in(tmp_path: Path) -> None:
    plugins = {"BENCH_PLUGINS": os.pathsep.join([str(TOY), str(BROKEN)]), "OMP_NUM_THREADS": "1"}
    done = typed("check", "method", "four_images", "--json", variables=plugins)
    assert done.returncode == 2, done.stderr
    (line,) = [item for item in json.loads(done.stdout) if item["verdict"] == "failed"]
    assert line["name"] == "accumulates"
    assert line["detail"].startswith("AssertionError: four images, please (broken.py, line ")
    done = typed("check", "augmentation", "unimatch", "--set", "crop_size=32", variables=plugins)
    assert done.returncode == 0 and done.stdout.count("ok ") == 6, done.stdout
    for arguments, said in {
        ("method", "nothing"): "unknown method 'nothing'",
        ("method", "classmix", "--set", "mixx=cutmix"): "mixx",
        ("network", "square", "--network", "square"): "--network: only a method",
        ("dataset", "toy", "--set", "size"): "--set size: expected an option",
    }.items():
        done = typed("check", *arguments, variables=plugins)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and said in done.stderr, done.stderr


PACKAGE = """
from bench.registry import register
from methods.supervised import Supervised
from .names import NAME

@register("method", NAME)
class Installed(Supervised):
    "From an installed package."
"""


def test_an_installed_package_brings_its_own_by_an_entry_point(tmp_path: Path) -> None:
    package, info = tmp_path / "lab" / "lab_methods", tmp_path / "lab" / "lab_methods-1.0.dist-info"
    for folder in (package, info):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text('NAME = "installed"\n')
    (package / "own.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[semisegbench]\nlab = lab_methods.own\ngone = lab_nothing.at_all\n")
    code = "from bench import registry; print(registry.code_of('method', 'installed'), registry.failures)"

    def said() -> str:
        paths = os.pathsep.join([str(REPOSITORY), str(package.parent)])
        environment = {**os.environ, "PYTHONPATH": paths, "BENCH_PLUGINS": ""}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = said()
    assert "entry point gone = lab_nothing.at_all': 'ImportError: there is no module lab_nothing" in first
    assert said() == first
    (package / "names.py").write_text('NAME = "installed"  # changed\n')
    assert said().split()[0] != first.split()[0]
