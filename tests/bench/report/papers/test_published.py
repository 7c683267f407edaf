"""Published figures: every file is valid, none is lost, some are checked by hand, and a wrong file is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.report.papers.published import FOLDER, PROVENANCE, Figure, Paper, load, parse
from bench.spec.grid import grid_files, read_grid
from bench.yaml import parse_yaml

KEYS = [path.stem for path in sorted(FOLDER.glob("*.yaml"))]
COLLECTED = 819
FIGURE: dict[str, Any] = {
    **{"dataset": "voc", "protocol": "few_labels", "labels": "60", "method": "ReCo", "miou": 50.0},
    **{"provenance": "authors", "source": "README", "address": "https://github.com/a/b"},
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
        # A page, a repository, or the paper itself; "full text on public GitHub" was none.
        assert re.fullmatch(
            r"https://(github\.com/[\w.-]+/[\w.-]+|arxiv\.org/abs/\d{4}\.\d{5}|[\w.-]+/).*", figure.address
        )
        assert "full text on public GitHub" not in figure.source
        assert figure.provenance in PROVENANCE
        assert figure.dataset in ("voc", "cityscapes", "sun_rgbd", "ade20k", "coco")
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
    ("classmix", "cityscapes", "ratio", "1/20", "ClassMix", "resnet101", 58.77, None, None, "summary"),
    ("augseg", "cityscapes", "ratio", "1/4", "AugSeg", "resnet50", 78.76, None, None, "authors"),
    ("imas", "voc", "ratio", "1/8", "iMAS", "resnet101", 78.4, None, None, "authors"),
    ("corrmatch", "voc", "files", "366", "CorrMatch", "resnet101", 79.4, None, None, "authors"),
    ("prevmatch", "cityscapes", "ratio", "1/16", "PrevMatch", "resnet101", 77.7, None, None, "authors"),
    ("unimatch", "coco", "files", "1/512", "UniMatch", "xception65", 31.9, None, None, "authors"),
    ("unimatch-v2", "ade20k", "files", "1/8", "UniMatch V2", "dinov2_base", 48.76, None, 1, "authors"),
    ("unimatch-v2", "ade20k", "files", "1/64", "UniMatch", "resnet101", 21.6, None, None, "reprint"),
    ("allspark", "coco", "files", "1/64", "AllSpark", "mit_b5", 49.56, None, None, "authors"),
    ("ps-mt", "voc", "files", "732", "PS-MT", "resnet101", 78.42, None, None, "authors"),
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


def test_how_a_figure_was_selected_is_known_where_code_or_logs_were_read() -> None:
    def of(paper: str, **place: Any) -> list[tuple[float, str, int | None]]:
        found = [f for f in load([paper])[0].figures if all(getattr(f, key) == value for key, value in place.items())]
        return [(f.miou, f.selection, f.evaluations) for f in found]

    assert of("reco", labels="60", method="ReCo+ClassMix") == [(57.12, "best-on-val", 200)]
    # AugSeg's table mixes rules: of its supervised rows, 1464 and Cityscapes 1/4 on ResNet-101 are the last evaluation.
    assert {s for _, s, _ in of("augseg", dataset="voc", method="Supervised", labels="732")} == {"best-on-val"}
    assert of("augseg", method="Supervised", labels="1464") == [(74.97, "last", None)]
    assert of("augseg", method="Supervised", labels="1/4", backbone="resnet101") == [(75.24, "last", None)]
    assert (74.48, "last", 80) in of("unimatch", labels="92", method="UniMatch")
    assert {s for _, s, _ in of("esl")} == {"unknown"}


def test_sun_figures_are_of_the_authors_split_and_reco_sun_takes_it() -> None:
    assert {f.dataset_split for f in load(["reco"])[0].figures if f.dataset == "sun_rgbd"} == {"reco"}
    (path,) = [path for path in grid_files() if path.stem == "reco-sun"]
    assert read_grid(path).recipe["dataset"] == {"name": "sun_rgbd", "split": "reco"}


def test_groups_fill_in_what_figures_leave_out() -> None:
    groups = [
        {"set": {"crop": "1x1", "recipe": {"optimizer.lr": 1.0, "optimizer.momentum": 0.5}}},
        {"when": {"labels": ["60", "61"]}, "set": {"stem": "deep", "recipe": {"optimizer.lr": 2.0}}},
        {"when": {"labels": "62"}, "set": {"stem": "7x7"}},
    ]
    own = {**FIGURE, "crop": "2x2", "recipe": {"optimizer.momentum": 0.9}}
    figures = parse({"key": "p", "title": "P", "groups": groups, "figures": [FIGURE, own]}, "p.yaml").figures
    assert [(f.crop, f.stem, f.recipe) for f in figures] == [
        ("1x1", "deep", {"optimizer.lr": 2.0, "optimizer.momentum": 0.5}),
        ("2x2", "deep", {"optimizer.lr": 2.0, "optimizer.momentum": 0.9}),
    ]
    with pytest.raises(
        BenchError, match=r"p\.yaml: group 1: unknown field of a figure 'selecton' \(did you mean 'selection'"
    ):
        parse({"key": "p", "title": "P", "groups": [{"set": {"selecton": "last"}}], "figures": []}, "p.yaml")


def test_figures_as_printed() -> None:
    def text(**more: Any) -> str:
        return Figure(paper="p", **{**FIGURE, **more}).text

    assert text() == "50.0"
    assert text(miou=57.12, n=1) == "57.12 (1)"
    assert text(miou=61.63, sd=1.76, n=3) == "61.63 ± 1.76 (3)"
    figure = Figure(paper="p", **FIGURE)
    assert figure.cited == "50.0 (p, authors)"
    assert figure.model_copy(update={"selection": "last", "evaluations": 80}).cited == "50.0 (p, authors, last)"
    best = figure.model_copy(update={"selection": "best-on-val", "evaluations": 80})
    assert best.cited == "50.0 (p, authors, best of 80)"


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
    ({key: value for key, value in FIGURE.items() if key != "address"}, ".address: this key is required"),
    ({**FIGURE, "selection": "best"}, ".selection: input should be 'last', 'best-on-val', 'holdout' or 'unknown'"),
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
