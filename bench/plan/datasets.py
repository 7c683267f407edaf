"""The datasets that a file names: a grid, or a file with a ``dataset:`` block alone."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError
from bench.plan.request import Request, parse_sets, read_request
from bench.spec.cell import Part, resolve_part
from bench.spec.grid import expand
from bench.yaml import read_yaml


def datasets_of(name: str, sets: tuple[str, ...] = ()) -> list[Part]:
    """Return the datasets of a grid's cells, or that of a ``dataset:`` block, each once.

    Args:
        name: a grid's name or file, or a file with the block.
        sets: ``key=value``: of a block, options of the dataset; of a grid, keys of its cells.

    Raises:
        BenchError: if there is no such file, or it can't be resolved.
    """
    path = Path(name)
    if path.is_file() and isinstance(raw := read_yaml(path), dict) and set(raw) == {"dataset"}:
        block = raw["dataset"]
        if not isinstance(block, dict) or "name" not in block:
            raise BenchError(f"{path}: dataset: expected a block with a name and options")
        return [resolve_part("dataset", {**block, **parse_sets(sets)}, f"{path}: dataset")]
    asked = read_request(Request(name, sets))
    points = expand(asked.grid, asked.where, asked.rest, replaced=any(key in asked.written.axes for key in asked.sets))
    raws = [{k: v for k, v in point.raw["dataset"].items() if k != "label"} for point in points]
    return list(dict.fromkeys(resolve_part("dataset", raw, f"{asked.where}: dataset") for raw in raws))
