"""What the user asked for: a grid, and where its data and its runs are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.spec.grid import Grid, apply, check_keys, grid_path, read_grid
from bench.spec.messages import validate
from bench.text import cut
from bench.yaml import Raw, parse_yaml


@dataclass(frozen=True)
class Request:
    """What the user asked for: a grid, ``--set`` values, data folders and the store."""

    grid: str
    sets: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    store: Path = Path("results/runs")

    @property
    def name(self) -> str:
        """The grid's name: its file's stem."""
        return grid_path(self.grid).stem


def parse_sets(values: tuple[str, ...]) -> Raw:
    """Read ``--set key=value``, the value being YAML.

    Raises:
        BenchError: if one is malformed or its key is unknown.
    """
    sets: Raw = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise BenchError(f"--set {cut(text)}: expected key=value, e.g. --set schedule.iterations=100")
        sets[key] = parse_yaml(value, f"--set {cut(key)}", key)
    return sets


@dataclass(frozen=True)
class Asked:
    """A request's grid.

    Attributes:
        written: the grid as its file has it.
        grid: the same with the ``--set`` values that are for the grid's own keys or replace an axis.
        sets: all ``--set`` values.
        rest: those that are still to be applied to each cell.
        where: the grid's path, for messages.
    """

    written: Grid
    grid: Grid
    sets: Raw
    rest: Raw
    where: str


def read_request(request: Request) -> Asked:
    """Read the grid and apply ``--set``: to the grid's own keys, to axes (replaced), and the rest to every cell.

    Raises:
        BenchError: anything wrong with the grid's frame, or a ``--set``.
    """
    path = grid_path(request.grid)
    written, sets = read_grid(path), parse_sets(request.sets)
    axes, frame, rest = dict(written.axes), written.model_dump(), {}
    for key, value in sets.items():
        if key in axes:
            axes[key] = value if isinstance(value, list) else [value]
        elif key.split(".")[0] in ("resources", "select", "title"):
            apply(frame, key, value, f"--set {cut(key)}")
        else:
            check_keys({key: value}, "--set")
            rest[key] = value
    grid = validate(Grid, {**frame, "axes": axes}, f"{path} with --set: ")
    return Asked(written, grid, sets, rest, str(path))
