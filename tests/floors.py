"""The floors of the code: which room may import which, as data; what the imports really are; and both as Markdown.

``python -m tests.floors`` writes the table and the diagram of CONTRIBUTING.md anew; a test compares them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("bench", "methods", "datasets", "slurm")
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- floors: written by `python -m tests.floors` -->", "<!-- end of floors -->"


@dataclass(frozen=True)
class Room:
    """A package, or the loose modules of one, and what lives there.

    Attributes:
        name: the dotted prefix of its modules; `bench` stands for the files directly in it.
        holds: in a few words.
    """

    name: str
    holds: str


# From below. A room imports rooms of lower floors, and itself; rooms of one floor don't import each other.
FLOORS: tuple[tuple[Room, ...], ...] = (
    (Room("bench", "the ground floor: errors, config, seeds, registry, phases, files, machine, arrays"),),
    (
        Room(
            "methods", "one file per method; `base`, `student` and `teacher` are the API; losses, networks, mixing, EMA"
        ),
        Room(
            "datasets",
            "one file per dataset; protocols, augmentation, layout (reading folders), official (archives), proposal",
        ),
    ),
    (Room("bench.spec", "what a grid may say: YAML, sections, cells and their ids"),),
    (Room("bench.store", "directories whose files are the truth: runs, states, tickets, status, throughputs"),),
    (
        Room("bench.data", "where datasets lie; label splits"),
        Room("bench.track", "records of runs for experiment trackers"),
    ),
    (Room("bench.plan", "a grid becomes cells; the summary that is kept of them, and whether it still holds"),),
    (Room("bench.train", "`Stepper` takes a step; the loop around it, loader, evaluation, checkpoints, meters"),),
    (
        Room("bench.check", "whether a method, network, dataset or augmentation keeps its contract"),
        Room("bench.export", "trained predictors that leave the store, and masks of any images"),
        Room("bench.cost", "memory predicted and swept, time measured"),
        Room("bench.run", "one attempt at a cell: worker, signals, recorder, local processes, doctor"),
    ),
    (Room("bench.report", "tables, verdicts beside papers, formats, figures"),),
    (Room("bench.page", "a grid's page, as a file and served: tables, charts, cells, hours as HTML"),),
    (Room("bench.api", "results for notebooks: frames, curves, predictors"),),
    (Room("bench.cli", "the verbs"),),
    (Room("slurm", "submission to a cluster, and its verbs, which the registry finds"),),
)
# One job may submit another one, for a cell that its node failed or another job lost: late imports up the stairs.
EXCEPTIONS = {("slurm.job", "slurm.moving"), ("slurm.job", "slurm.tending")}
# The harness names these modules of plug-in packages; everything else there goes through the registry.
CONTRACTS = (
    *("methods.base", "methods.networks.weights"),
    *("datasets.base", "datasets.content", "datasets.split", "datasets.proposal", "datasets.photographs"),
)
# What must start fast: no module here imports torch, not even late.
TORCH_FREE = ("bench.spec", "bench.store", "bench.data", "bench.plan", "bench.report", "bench.page", "bench.cli")


@cache
def modules() -> dict[str, Path]:
    """Return every module of the four packages with its file."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


@cache
def imports(module: str) -> frozenset[str]:
    """Return what a module imports: lazy imports and those for type checking included; our own names whole."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {name for name in inner if name in modules()}
            found |= known | ({node.module} if known != inner else set())
    return frozenset(found - {module})


def room_of(module: str) -> Room:
    """Return the room that a module is in: the one with the longest name that fits."""
    rooms = [room for floor in FLOORS for room in floor if module == room.name or module.startswith(f"{room.name}.")]
    room = max(rooms, key=lambda room: len(room.name))
    if room.name == "bench" and module.count(".") > 1:
        raise LookupError(f"{module} is in no room: add its folder to tests/floors.py")
    return room


def floor_of(room: Room) -> int:
    """Return a room's floor, from 0."""
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


def arrows() -> Iterator[tuple[str, str]]:
    """Yield (module, imported module) for every import within the four packages."""
    for module in modules():
        for name in sorted(imports(module)):
            if name in modules():
                yield module, name


def steps_up() -> list[str]:
    """Return the imports that don't lead to a lower floor, or within a room."""
    found = []
    for module, name in arrows():
        here, there = room_of(module), room_of(name)
        if here != there and floor_of(there) >= floor_of(here):
            found.append(f"{module} imports {name}: {there.name} doesn't stand under {here.name}")
    return found


def circles() -> list[str]:
    """Return the modules that import themselves by way of others, the declared exception aside."""
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for module, name in arrows():
        if (module, name) not in EXCEPTIONS:
            graph[module].add(name)
    left = dict(graph)
    while free := [module for module, names in left.items() if not names & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


def rooms_arrows() -> dict[Room, list[Room]]:
    """Return the rooms that each room imports, lowest first."""
    found: dict[Room, set[Room]] = {room: set() for floor in FLOORS for room in floor}
    for module, name in arrows():
        found[room_of(module)].add(room_of(name))
    return {room: sorted(rooms - {room}, key=lambda r: (floor_of(r), r.name)) for room, rooms in found.items()}


def markdown() -> str:
    """Return the table of rooms, top floor first, and the diagram of what they import."""
    measured = rooms_arrows()
    rows = ["| floor | room | what lives there | imports |", "|---:|---|---|---|"]
    for number, floor in reversed([*enumerate(FLOORS)]):
        for room in floor:
            names = ", ".join(f"`{other.name}`" for other in measured[room]) or "–"
            rows.append(f"| {number} | `{room.name}` | {room.holds} | {names} |")
    lines = ["```mermaid", "flowchart TD"]
    for room in measured:
        lines += [f"    {_node(room)} --> {_node(other)}" for other in _nearest(room, measured)]
    return "\n".join(
        [
            *rows,
            "",
            "An arrow leads to what a room imports (those that follow from others are left out):",
            "",
            *lines,
            "```",
        ]
    )


def _node(room: Room) -> str:
    return f"{room.name.replace('.', '_')}[{room.name}]"


def _nearest(room: Room, measured: dict[Room, list[Room]]) -> list[Room]:
    """Return the imports of a room that no other import of it reaches."""

    def reach(start: Room) -> set[Room]:
        return {r for other in measured[start] for r in ({other} | reach(other))}

    return [r for r in measured[room] if not any(r in reach(other) for other in measured[room] if other != r)]


def written() -> str:
    """Return CONTRIBUTING.md with the table and the diagram as they are now."""
    text = CONTRIBUTING.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


if __name__ == "__main__":
    CONTRIBUTING.write_text(written())
