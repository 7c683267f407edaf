"""Published figures: every file is valid, none is lost, some are checked by hand, and a wrong file is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.report.papers.published import FOLDER, PROVENANCE, Figure, Paper, load, parse
from bench.spec.grid import grid_files, read_grid
from bench.spec.yaml import parse_yaml

KEYS = [path.stem for path in sorted(FOLDER.glob("*.yaml"))]
COLLECTED = 581
FIGURE: dict[str, Any] = {
    **{"dataset": "voc", "protocol": "few_labels", "labels": "60", "method": "ReCo", "miou": 50.0},
    **{"provenance": "authors", "source": "README"},
}


@pytest.mark.parametrize("key", KEYS)
def test_every_file_is_valid_and_every_figure_has_a_source(key: str) -> None:
    (paper,) = load([key])
    assert paper.key == key
    # A second reader, which refuses a key that is given twice.
    assert len(parse_yaml((FOLDER / f"{key}.yaml").read_text(), key)["figures"]) == len(paper.figures)
    for figure in paper.figures:
        assert 0 <= figure.miou <= 100
        assert figure.source
        assert figure.provenance in PROVENANCE
        assert figure.dataset in ("voc", "cityscapes", "sun_rgbd")
        assert figure.protocol in ("few_labels", "ratio", "partial", "full", "files")


def test_every_fact_collected_is_kept_or_counted_as_left_out() -> None:
    lines = re.findall(r"^\| `([\w-]+)` \| .* \| (\d+) \| (\d+) \|$", (FOLDER / "README.md").read_text(), re.M)
    assert sorted(key for key, *_ in lines) == sorted(KEYS)
    assert {key: int(kept) for key, kept, _ in lines} == {paper.key: len(paper.figures) for paper in load(KEYS)}
    assert sum(int(kept) + int(left) for _, kept, left in lines) == COLLECTED


# Read by hand in the facts collected: paper, dataset, protocol, labels, method, backbone, then the figure and its rank.
SPOTS = [
    ("reco", "cityscapes", "few_labels", "20", "ReCo+ClassMix", "resnet101", 50.14, None, 1, "authors"),
    ("reco", "voc", "few_labels", "200", "ClassMix", "resnet101", 67.95, None, None, "summary"),
    ("reco", "sun_rgbd", "full", "full", "ReCo+Supervised", "resnet101", 52.01, None, None, "summary"),
    ("reco", "voc", "files", "92", "ReCo+ClassMix", "resnet101", 64.78, None, None, "summary"),
    ("reco", "cityscapes", "partial", "1px", "ReCo+ClassMix", "resnet101", 49.66, None, None, "summary"),
    ("arco", "sun_rgbd", "few_labels", "500", "ReCo+ClassMix", "resnet101", 44.6, None, None, "reprint"),
    ("css", "voc", "files", "183", "Mean Teacher", "resnet101", 61.63, 1.76, 3, "authors"),
    ("classmix", "cityscapes", "ratio", "1/8", "ClassMix", "resnet101", 61.35, None, None, "summary"),
]


@pytest.mark.parametrize("spot", SPOTS, ids=lambda spot: "-".join(map(str, spot[:5])))
def test_figures_are_those_of_their_sources(spot: tuple[Any, ...]) -> None:
    (paper,) = load([spot[0]])
    found = [f for f in paper.figures if (f.dataset, f.protocol, f.labels, f.method, f.backbone) == spot[1:6]]
    assert spot[6:] in [(f.miou, f.sd, f.n, f.provenance) for f in found]


def test_conflicting_sources_are_all_kept() -> None:
    papers = load(["reco", "arco"])
    place = ("voc", "few_labels", "60", "Supervised")
    found = [f for p in papers for f in p.figures if (f.dataset, f.protocol, f.labels, f.method) == place]
    assert [(f.paper, f.miou) for f in found] == [("reco", 36.06), ("arco", 39.4)]


def test_rc2l_has_no_figure_and_says_why() -> None:
    (paper,) = load(["rc2l"])
    assert paper.figures == ()
    assert paper.note is not None and "not found" in paper.note


def test_figures_as_printed() -> None:
    def text(**more: Any) -> str:
        return Figure(paper="p", **{**FIGURE, **more}).text

    assert text() == "50.0"
    assert text(miou=57.12, n=1) == "57.12 (1)"
    assert text(miou=61.63, sd=1.76, n=3) == "61.63 ± 1.76 (3)"


WRONG = [
    ({**FIGURE, "mIoU": 1}, ".mIoU: unknown key (did you mean 'miou'?)"),
    ({**FIGURE, "miou": 150.0}, ".miou: input should be less than or equal to 100, not 150.0"),
    ({**FIGURE, "miou": float("nan")}, ".miou: input should be a finite number, not nan"),
    ({**FIGURE, "miou": "50"}, ".miou: input should be a valid number, not '50'"),
    ({**FIGURE, "labels": 60}, ".labels: input should be a valid string, not 60"),
    ({**FIGURE, "sd": -1.0}, ".sd: input should be greater than or equal to 0, not -1.0"),
    ({**FIGURE, "n": True}, ".n: input should be a valid integer, not True"),
    ({**FIGURE, "provenance": "author"}, ".provenance: input should be 'authors', 'reprint' or 'summary'"),
    ({key: value for key, value in FIGURE.items() if key != "source"}, ".source: this key is required"),
    ({**FIGURE, "source": ""}, ".source: string should have at least 1 character"),
    ("50.0", ": expected keys and values, not '50.0'"),
]


@pytest.mark.parametrize(("figure", "message"), WRONG)
def test_a_wrong_figure_is_named(figure: Any, message: str) -> None:
    with pytest.raises(BenchError, match=re.escape(message)) as error:
        parse({"key": "p", "title": "P", "figures": [FIGURE, figure]}, "p.yaml")
    assert str(error.value).startswith(f"p.yaml: figure 2{message}")


def test_a_paper_that_is_not_there_or_not_readable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"unknown paper 'rec' \(did you mean 'reco'\?\)"):
        load(["rec"])
    (tmp_path / "p.yaml").write_text("key: [")
    with pytest.raises(BenchError, match=r"p\.yaml: can't be read"):
        load(["p"], tmp_path)


COMPARED = [path for path in grid_files() if read_grid(path).published]


@pytest.mark.parametrize("path", COMPARED, ids=[path.stem for path in COMPARED])
def test_shipped_grids_name_papers_and_methods_that_exist(path: Path) -> None:
    published = read_grid(path).published
    assert published is not None
    papers: list[Paper] = load(published.papers)
    known = {figure.method for paper in papers for figure in paper.figures} | {"RC²L"}
    assert known >= {name for names in published.methods.values() for name in names}
    labels = [m["label"] if isinstance(m, dict) else m for m in read_grid(path).axes["method"]]
    assert set(labels) >= set(published.methods)
