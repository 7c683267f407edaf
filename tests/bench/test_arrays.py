from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def assigned(path: Path) -> set[str]:
    nodes = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign))
    return {target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)}


def test_the_conventions_are_defined_once() -> None:
    files = [path for room in ("bench", "methods", "datasets", "slurm") for path in (ROOT / room).rglob("*.py")]
    defining = {str(p.relative_to(ROOT)) for p in files if assigned(p) & {"IGNORE_INDEX", "UInt8"}}
    assert defining == {"bench/arrays.py"}
