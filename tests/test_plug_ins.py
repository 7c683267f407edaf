"""The examples of ``docs/plug-ins.md`` keep their contracts and make a grid, and networks of plug-ins are told apart."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from bench.files import REPOSITORY
from tests.typed import typed

PAGE = (REPOSITORY / "docs" / "plug-ins.md").read_text()
NETWORK = '''
from bench.registry import register
from methods.networks.deeplabv3plus import DeepLabV3Plus, DeepLabV3PlusConfig

@register("network", "{name}")
class Mine(DeepLabV3Plus):
    """{name}"""
    Config = DeepLabV3PlusConfig
'''


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def plugins(tmp_path: Path) -> str:
    """The examples as files, and their paths separated as the page says."""
    files = []
    for text in blocks("python"):
        files.append(tmp_path / text.splitlines()[0].removeprefix("# "))
        files[-1].write_text(text)
    return ":".join(map(str, files))


def test_the_examples_keep_their_contracts_and_train(tmp_path: Path, plugins: str) -> None:
    variables = {"BENCH_PLUGINS": plugins, "OMP_NUM_THREADS": "1"}
    for kind, name in (("network", "flat"), ("dataset", "stripes")):
        done = typed("check", kind, name, variables=variables)
        assert done.returncode == 0, done.stdout + done.stderr
    done = typed("check", "method", "supervised", "--network", "flat", "--json", variables=variables)
    assert {line["verdict"] for line in json.loads(done.stdout)} == {"ok"}
    grid, store = tmp_path / "grid.yaml", str(tmp_path / "store")
    grid.write_text(next(block for block in blocks("yaml") if "published" in block))
    done = typed("run", str(grid), "--store", store, "--only", "method=supervised,seed=0", variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    done = typed("table", str(grid), "--store", store, variables=variables)
    assert done.returncode == 0 and "U2PL" in done.stdout, done.stdout + done.stderr


def test_networks_of_plug_ins_are_told_apart(tmp_path: Path, grid_file: Path) -> None:
    """By their names in tables, and in ids by names and code, though their backbones are one."""
    files = [tmp_path / f"{name}.py" for name in ("one_net", "two_net")]
    for file in files:
        file.write_text(NETWORK.format(name=file.stem))
    paths = os.pathsep.join([os.environ["BENCH_PLUGINS"], *map(str, files)])
    grid = tmp_path / "networks.yaml"
    names = ("one_net", "two_net", "deeplabv3plus")
    axis = "  network: [" + ", ".join(f"{{name: {name}, backbone: tiny}}" for name in names) + "]\n"
    grid.write_text(grid_file.read_text().replace("axes:\n", "axes:\n" + axis))

    def planned() -> dict[str, str]:
        done = typed(
            "plan", str(grid), "--json", "--store", str(tmp_path / "store"), variables={"BENCH_PLUGINS": paths}
        )
        assert done.returncode == 0, done.stderr
        return {cell["coords"]["network"]: cell["id"] for cell in json.loads(done.stdout)["cells"]}

    first = planned()
    assert sorted(first) == ["tiny (name=deeplabv3plus)", "tiny (name=one_net)", "tiny (name=two_net)"]
    assert len(set(first.values())) == 3
    files[0].write_text(files[0].read_text() + "\nCHANGED = True\n")
    second = planned()
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"tiny (name=one_net)"}
