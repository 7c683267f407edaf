"""``check``: whether a part keeps its contract."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import DATA, JSON
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from bench.check.outcomes import Check


class Kind(str, Enum):
    """What can be checked."""

    METHOD = "method"
    NETWORK = "network"
    DATASET = "dataset"
    AUGMENTATION = "augmentation"


SETS = Annotated[
    list[str] | None, typer.Option("--set", metavar="OPTION=VALUE", help="An option of its own, e.g. threshold=0.3.")
]
NETWORK = Annotated[
    str | None, typer.Option("--network", metavar="NAME", help="Of a method: on this network instead of a small one.")
]


def _checks(kind: Kind, name: str, sets: list[str], network: str | None, data: list[str]) -> list[Check]:
    from bench.check.augmentations import augmentation_checks
    from bench.check.cell import part_of
    from bench.check.datasets import dataset_checks
    from bench.check.methods import method_checks
    from bench.check.networks import network_checks
    from bench.data.roots import DataRoots
    from bench.errors import BenchError
    from bench.yaml import parse_yaml

    options = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise BenchError(f"--set {text}: expected an option of {name} and its value, e.g. --set threshold=0.3")
        options[key] = parse_yaml(value, f"--set {key}", key)
    part = part_of(kind.value, name, options)
    if network is not None and kind is not Kind.METHOD:
        raise BenchError("--network: only a method is checked on a network")
    if kind is Kind.METHOD:
        return method_checks(part, None if network is None else part_of("network", network, {}))
    if kind is Kind.DATASET:
        return dataset_checks(part, DataRoots.parse(data))
    return network_checks(part) if kind is Kind.NETWORK else augmentation_checks(part)


def check(
    kind: Annotated[Kind, typer.Argument(help="What it is.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, as `list` shows it; plug-ins too.")],
    sets: SETS = None,
    network: NETWORK = None,
    data: DATA = None,
    as_json: JSON = False,
) -> None:
    """Check that a method, network, dataset or augmentation keeps its contract. Exit code 2 if it doesn't.

    One line for each check; one that fails says how to mend it. A note is no fault: something is possible elsewhere that
    isn't here.
    """
    from bench import registry
    from bench.check.outcomes import outcomes
    from bench.streams import say

    out, found = console(), []
    colours = {"ok": "green", "note": "yellow", "failed": "red", "not tried": "yellow"}
    for outcome in outcomes(_checks(kind, name, sets or [], network, data or [])):
        found.append(outcome)
        if not as_json:
            out.print(outcome.verdict.ljust(len("not tried")), style=colours[outcome.verdict], end=" ")
            out.print(outcome.line)
    for path, why in registry.failures.items():
        say(f"plug-in {path} can't be imported, and isn't what was checked: {why}")
    if as_json:
        print_json([outcome.as_dict() for outcome in found])
    raise SystemExit(2 if any(outcome.verdict == "failed" for outcome in found) else 0)
