"""The figures of papers in ``results/published``: one YAML file per paper, each figure with its source and its rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from bench.errors import BenchError, nearest, unknown

FOLDER = Path(__file__).parents[3] / "results" / "published"
# The best first: what the paper or repository of those who ran it says, what another one reprints, what a summary tells.
PROVENANCE = ("authors", "reprint", "summary")

# libyaml's loader is eight times as fast as the one in Python, which is most of a table's time here. That no key is
# given twice, which libyaml wouldn't notice, is tested for the files themselves.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Figure:
    """One published figure; None is what its source doesn't say.

    Attributes:
        paper: key of the file that it is in.
        dataset, protocol, labels: its place, in the words of this harness.
        method: as the paper calls it.
        miou: in %, with the standard deviation `sd` and the number of runs `n`.
        provenance: one of :data:`PROVENANCE`.
        source, table, split, note: where it was read, and what that says of the split and of anything else.
        images: labelled images.
        network, backbone, weights, output_stride, crop, evaluation, iterations: what it was measured with; sizes are
            height x width.
    """

    paper: str
    dataset: str
    protocol: str
    labels: str
    method: str
    miou: float
    provenance: str
    source: str
    sd: float | None = None
    n: int | None = None
    images: int | None = None
    network: str | None = None
    backbone: str | None = None
    weights: str | None = None
    output_stride: int | None = None
    crop: str | None = None
    evaluation: str | None = None
    iterations: int | None = None
    table: str | None = None
    split: str | None = None
    note: str | None = None

    @property
    def text(self) -> str:
        """The figure as printed, with its deviation and its number of runs where known: `57.12 (1)`."""
        spread = "" if self.sd is None else f" ± {_printed(self.sd)}"
        return _printed(self.miou) + spread + ("" if self.n is None else f" ({self.n})")


@dataclass(frozen=True)
class Paper:
    """One file of figures; `note` says what there is to say of them all, or why there is none."""

    key: str
    title: str
    arxiv: str | None
    year: int | None
    note: str | None
    figures: tuple[Figure, ...]


_HEADER: dict[str, tuple[type, ...]] = {"key": (str,), "title": (str,), "arxiv": (str,), "year": (int,), "note": (str,)}
_TYPES = {"str": (str,), "int": (int,), "float": (int, float)}
_FIGURE = {f.name: _TYPES[str(f.type).partition(" ")[0]] for f in fields(Figure) if f.name != "paper"}
_REQUIRED = ("dataset", "protocol", "labels", "method", "miou", "provenance", "source")


def _printed(value: float) -> str:
    return f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"


def _checked(
    value: Any, allowed: Mapping[str, tuple[type, ...]], required: Sequence[str], where: str
) -> dict[str, Any]:
    """Return a mapping whose keys and types are as they should be.

    Raises:
        BenchError: naming the first key that isn't.
    """
    if not isinstance(value, dict):
        raise BenchError(f"{where}: expected keys and values, not {value!r}")
    for key, entry in value.items():
        if key not in allowed:
            raise BenchError(f"{where}: unknown key '{key}'{nearest(str(key), allowed)}; allowed: {', '.join(allowed)}")
        if isinstance(entry, bool) or not isinstance(entry, allowed[key]):
            raise BenchError(f"{where}.{key}: expected {allowed[key][-1].__name__}, not {entry!r}")
    if missing := [key for key in required if value.get(key) in (None, "")]:
        raise BenchError(f"{where}: '{missing[0]}' is missing")
    return value


def _figure(value: Any, paper: str, where: str) -> Figure:
    figure = Figure(paper=paper, **_checked(value, _FIGURE, _REQUIRED, where))
    if not (math.isfinite(figure.miou) and 0 <= figure.miou <= 100):
        raise BenchError(f"{where}.miou: expected a number from 0 to 100, not {figure.miou}")
    if figure.sd is not None and not (math.isfinite(figure.sd) and figure.sd >= 0):
        raise BenchError(f"{where}.sd: expected a number of at least 0, not {figure.sd}")
    if figure.provenance not in PROVENANCE:
        raise BenchError(f"{where}.provenance: expected {', '.join(PROVENANCE)}, not '{figure.provenance}'")
    return figure


def parse(content: Any, where: str) -> Paper:
    """Return a file's content as a paper.

    Raises:
        BenchError: what is wrong, and in which figure, counted from 1.
    """
    allowed = {**_HEADER, "figures": (list,)}
    found = _checked(content, allowed, ("key", "title"), where)
    rows = found.get("figures", [])
    figures = tuple(_figure(row, found["key"], f"{where}: figure {i}") for i, row in enumerate(rows, 1))
    return Paper(found["key"], found["title"], found.get("arxiv"), found.get("year"), found.get("note"), figures)


def load(names: Sequence[str], folder: Path | None = None) -> list[Paper]:
    """Return the papers of these names, in their order.

    Args:
        names: files of `folder`, without their ending.
        folder: by default :data:`FOLDER`.

    Raises:
        BenchError: if there is no such file, or one is wrong.
    """
    files = {path.stem: path for path in sorted((folder or FOLDER).glob("*.yaml"))}
    papers = []
    for name in names:
        if name not in files:
            raise unknown("paper", name, files)
        try:
            content = yaml.load(files[name].read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 (a safe loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BenchError(f"{files[name]}: can't be read: {' '.join(str(error).split())}") from None
        papers.append(parse(content, str(files[name])))
    return papers
