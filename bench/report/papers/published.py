"""The figures of papers in ``results/published``: one YAML file per paper, each figure with its source and its rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field

from bench.errors import BenchError, unknown
from bench.spec.messages import validate

FOLDER = Path(__file__).parents[3] / "results" / "published"
# The best first: what the paper or repository of those who ran it says, what another one reprints, what a summary tells.
Provenance = Literal["authors", "reprint", "summary"]
PROVENANCE: tuple[Provenance, ...] = get_args(Provenance)
# Which of a run's evaluations a figure is: the last; the best on the images that it is printed for; the one that images
# held out of the labelled budget picked.
Selection = Literal["last", "best-on-val", "holdout", "unknown"]

# libyaml's loader is eight times as fast as the one in Python, which is most of a table's time here. That no key is
# given twice, which libyaml wouldn't notice, is tested for the files themselves.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    # Strict: "50" is no number, and 60 is no label.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Figure(_Strict):
    """One published figure; None is what its source doesn't say.

    Attributes:
        paper: key of the file that it is in.
        dataset, protocol, labels: its place, in the words of this harness.
        method: as the paper calls it.
        miou: in %, with the standard deviation `sd` and the number of runs `n`.
        provenance: one of :data:`PROVENANCE`.
        source, table, split, note: where it was read, and what that says of the split and of anything else.
        images: labelled images.
        address: where the source can be found: a repository's file, a page, or the paper's arXiv id.
        network, backbone, weights, output_stride, crop, evaluation, iterations: what it was measured with; sizes are
            height x width.
        stem: of a ResNet: `7x7`, as torchvision has it, or `deep`, three 3x3 convolutions.
        dataset_split, eval_split: the version of the dataset's own split, and the part of it that was evaluated.
        split_family: whose list of labelled images it was (``split-families.tsv``).
        selection: which of a run's evaluations it is (:data:`Selection`), of `evaluations` per run.
        recipe: how it was trained, by the dotted keys of a cell (see ``bench.spec.facts``).
    """

    paper: str = ""
    dataset: Text
    protocol: Text
    labels: Text
    method: Text
    miou: float = Field(ge=0, le=100)
    provenance: Provenance
    source: Text
    address: Text
    sd: float | None = Field(default=None, ge=0)
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
    stem: Literal["7x7", "deep"] | None = None
    dataset_split: str | None = None
    eval_split: str = "val"
    split_family: str | None = None
    selection: Selection = "unknown"
    evaluations: int | None = Field(default=None, ge=1)
    recipe: dict[str, Any] = Field(default={})

    @property
    def text(self) -> str:
        """The figure as printed, with its deviation and its number of runs where known: `57.12 (1)`."""
        spread = "" if self.sd is None else f" ± {_printed(self.sd)}"
        return _printed(self.miou) + spread + ("" if self.n is None else f" ({self.n})")

    @property
    def cited(self) -> str:
        """The figure, where it is from, and how it was selected where that is known: `57.1 (arco, reprint)`."""
        known = () if self.selection == "unknown" else (self.selected,)
        return f"{self.text} ({', '.join((self.paper, self.provenance, *known))})"

    @property
    def selected(self) -> str:
        """Which evaluation of a run it is, in words: `best of 200`, `last`, `unknown`."""
        words = {"best-on-val": "best", "holdout": "by held-out images"}.get(self.selection, self.selection)
        many = self.evaluations is not None and self.selection in ("best-on-val", "holdout")
        return f"{words} of {self.evaluations}" if many else words


class _Header(_Strict):
    key: Text
    title: Text
    arxiv: str | None = None
    venue: str | None = None
    year: int | None = None
    note: str | None = None


class _Group(_Strict):
    """What several figures share: `set` fills in what a figure that meets `when` leaves out; of two groups the later counts.

    Attributes:
        when: a figure's field to a value, or to several of which one must match; all fields must.
        set: further fields. Recipes are merged key by key.
    """

    when: dict[str, Any] = Field(default={})
    set: dict[str, Any] = Field(min_length=1)

    def meets(self, figure: Any) -> bool:
        """Whether this is said of a figure (as its file has it)."""
        return isinstance(figure, dict) and all(
            figure.get(key) in (wanted if isinstance(wanted, list) else [wanted]) for key, wanted in self.when.items()
        )


class _File(_Header):
    groups: list[_Group] = Field(default=[])
    figures: list[Any] = Field(default=[])


class Paper(_Header):
    """One file of figures; `note` says what there is to say of them all, or why there is none."""

    figures: tuple[Figure, ...]


def _printed(value: float) -> str:
    return f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"


def _filled(figure: Any, groups: Sequence[_Group]) -> Any:
    """Return a figure with what its groups say of it; what it says itself counts."""
    found = [group.set for group in groups if group.meets(figure)]
    if not found:
        return figure
    recipe = {key: value for part in (*found, figure) for key, value in part.get("recipe", {}).items()}
    whole = {key: value for part in (*found, figure) for key, value in part.items()}
    return {**whole, "recipe": recipe} if recipe else whole


def _check_groups(groups: Sequence[_Group], where: str) -> None:
    """Refuse a group that names a field that a figure doesn't have.

    Raises:
        BenchError: which.
    """
    for i, group in enumerate(groups, 1):
        for key in (*group.when, *group.set):
            if key not in Figure.model_fields:
                raise BenchError(f"{where}: group {i}: {unknown('field of a figure', key, Figure.model_fields)}")


def parse(content: Any, where: str) -> Paper:
    """Return a file's content as a paper.

    Raises:
        BenchError: what is wrong, and in which figure, counted from 1.
    """
    file = validate(_File, content, where)
    _check_groups(file.groups, where)
    figures = tuple(
        validate(Figure, _filled(row, file.groups), f"{where}: figure {i}").model_copy(update={"paper": file.key})
        for i, row in enumerate(file.figures, 1)
    )
    header = {name: getattr(file, name) for name in _Header.model_fields}
    return Paper.model_validate({**header, "figures": figures})


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
