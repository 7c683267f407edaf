"""COCO from small archives in the official layout: what pycocotools draws, and what must be refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import registry
from bench.arrays import UInt8
from bench.errors import BenchError
from datasets.coco import CATEGORY_IDS, CLASSES, Coco, CocoConfig
from datasets.official.instances import draw, walk_json
from datasets.protocols.files import read_split_list
from tests.datasets.archived import (
    COCO,
    COCO_NAMES,
    HEIGHT,
    WIDTH,
    coco_json,
    coco_source,
    contents,
    encoded,
    picture,
    values,
    write_tree,
    write_zip,
)

# pycocotools 2.0.11 on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
OURS = CocoConfig(masks="unimatch")
CLASS_OF = {category: index for index, category in enumerate(CATEGORY_IDS, 1)}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coco, "published", {split: len(ids) for split, ids in COCO.items()})
    monkeypatch.setattr(Coco, "checksums", {})


@pytest.fixture
def pycocotools() -> None:
    pytest.importorskip("pycocotools", reason="the masks of coco are drawn by pycocotools")


def prepared(root: Path, source: Path | None, config: CocoConfig = CocoConfig()) -> Coco:  # noqa: B008 - frozen
    Coco.prepare(config, root, source)
    return Coco(config, root)


def drawn_by_pycocotools(path: Path, image_id: int) -> UInt8:
    """Return an image's annotations, read and drawn by pycocotools' own class, one over the other."""
    from pycocotools import coco as api_of_coco

    api, names = api_of_coco.COCO(str(path)), list(COCO_NAMES.values())
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for annotation in api.loadAnns(api.getAnnIds(imgIds=image_id)):
        name = api.loadCats(annotation["category_id"])[0]["name"]
        mask[api.annToMask(annotation) == 1] = 1 + names.index(name)
    return mask


@pytest.mark.usefixtures("pycocotools")
def test_masks_are_what_pycocotools_draws(tmp_path: Path) -> None:
    source = coco_source(tmp_path / "from")
    before = contents(source)
    dataset = prepared(tmp_path / "out", source)
    assert contents(source) == before
    assert dataset.ids("train") == COCO["train"] and dataset.ids("val") == COCO["val"]
    covered = 0
    for split, ids in COCO.items():
        path = tmp_path / f"{split}.json"
        path.write_text(json.dumps(coco_json(split)))
        for image_id in ids:
            expected = drawn_by_pycocotools(path, int(image_id))
            np.testing.assert_array_equal(dataset.mask(image_id), expected)
            covered += len(np.unique(expected))
    assert covered > 30 and not dataset.mask(COCO["val"][-1]).any()
    report = dataset.check()
    assert report.problems == [] and report.counts["train"] == 4 and report.counts["val"] == 2
    assert any("annotations_trainval2017.zip" in note and "later ones over earlier" in note for note in report.notes)


@pytest.mark.usefixtures("pycocotools")
def test_what_was_lost_is_made_again(tmp_path: Path) -> None:
    source = coco_source(tmp_path / "from")
    dataset = prepared(tmp_path / "out", source)
    before = {path: data for path, (_, data) in contents(dataset.root).items()}
    dataset.mask_path(COCO["train"][1]).unlink()
    dataset.image_path(COCO["val"][0]).unlink()
    prepared(dataset.root, source)
    assert {path: data for path, (_, data) in contents(dataset.root).items()} == before


@pytest.mark.usefixtures("pycocotools")
def test_a_mask_worked_by_hand() -> None:
    box, other = [[1, 1, 4, 1, 4, 3, 1, 3]], [[3, 2, 6, 2, 6, 4, 3, 4]]
    column = {"size": [5, 7], "counts": [5 * 2, 5, 5 * 4]}  # the third column, from top to bottom
    shapes = [(box, 1, 0), (other, 17, 0), (column, 90, 1)]
    annotations = [{"id": i, "segmentation": s, "category_id": c, "iscrowd": w} for i, (s, c, w) in enumerate(shapes)]
    data = json.dumps({"height": 5, "width": 7, "annotations": annotations}).encode()
    expected = [
        [0, 0, 80, 0, 0, 0, 0],
        [0, 1, 80, 1, 0, 0, 0],
        [0, 1, 80, 16, 16, 16, 0],
        [0, 0, 80, 16, 16, 16, 0],
        [0, 0, 80, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(draw(Path("x"), data, CLASS_OF), expected)


def test_classes_are_those_of_torchvision() -> None:
    assert ("background", *COCO_NAMES.values()) == CLASSES and tuple(COCO_NAMES) == CATEGORY_IDS
    dataset = Coco(CocoConfig(), Path("/nowhere"))
    assert registry.get("dataset", "coco") is Coco
    assert len(dataset.classes) == len(set(dataset.palette)) == 81
    assert dataset.few_labels_min_classes == 4
    assert CocoConfig().identity() == {"size": None, "eval_split": "val"}
    assert OURS.identity()["masks"] == "unimatch"


def unimatch(source: Path) -> Path:
    masks = {f"masks/{i}.png": encoded(values(i, [0, 1, 80, 255])) for ids in COCO.values() for i in ids}
    write_zip(source / "masks.zip", masks)
    return source


def test_masks_of_unimatch_need_no_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    source = unimatch(coco_source(tmp_path / "from"))
    dataset = prepared(tmp_path / "out", source, OURS)
    for image_id in (*COCO["train"], *COCO["val"]):
        np.testing.assert_array_equal(dataset.mask(image_id), values(image_id, [0, 1, 80, 255]))
    (tmp_path / "labeled.txt").write_text("".join(f"train2017/{i}.jpg masks/{i}.png\n" for i in COCO["train"][2:]))
    assert read_split_list(tmp_path / "labeled.txt", dataset) == COCO["train"][2:]
    with pytest.raises(BenchError, match=r"which isn't installed: pip install pycocotools") as error:
        prepared(tmp_path / "other", source)
    assert "\n" not in str(error.value)
    for use in (lambda: Coco(CocoConfig(), dataset.root).ids("train"), lambda: prepared(dataset.root, source)):
        with pytest.raises(BenchError, match=r"prepared with UniMatch's masks, but masks: instances is asked for"):
            use()


def _first(annotations: list[dict[str, Any]], **changes: Any) -> None:
    annotations[0].update(changes)


BAD: dict[str, tuple[Any, str]] = {
    "no shape": (
        lambda j: _first(j["annotations"], segmentation=[]),
        r"json/0000000\d+: annotation 900 can't be drawn",
    ),
    "of another size": (
        lambda j: _first(j["annotations"], segmentation={"size": [4, 5], "counts": [20]}),
        r"annotation 900 can't be drawn \(its code is of \[4, 5\], the image of \[20, 30\]\)",
    ),
    "of no image": (lambda j: _first(j["annotations"], image_id=77), r"annotations of image 77, which isn't among"),
    "other categories": (lambda j: j["categories"].pop(), r"its categories aren't the 80 of COCO 2017"),
    "no annotations": (lambda j: j.pop("annotations"), r"not a file of COCO's instance annotations \(no 'annotations'"),
    "no list": (lambda j: j.update(images={}), r"not a file of COCO's instance annotations \(expected \["),
}


@pytest.mark.usefixtures("pycocotools")
@pytest.mark.parametrize("case", BAD)
def test_bad_annotations_are_told_in_a_line(tmp_path: Path, case: str) -> None:
    change, fault = BAD[case]
    source, content = coco_source(tmp_path / "from"), coco_json("train")
    change(content)
    write_tree(source, {"annotations/instances_train2017.json": json.dumps(content).encode()})
    with pytest.raises(BenchError, match=fault) as error:
        prepared(tmp_path / "out", source)
    assert "\n" not in str(error.value) and "instances_train2017.json" in str(error.value)


@pytest.mark.usefixtures("pycocotools")
@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_a_cut_file_is_told(tmp_path: Path, keep: float) -> None:
    source, text = coco_source(tmp_path / "from"), json.dumps(coco_json("train"))
    write_tree(source, {"annotations/instances_train2017.json": text[: int(keep * len(text))].encode()})
    with pytest.raises(BenchError, match=r"instances_train2017\.json: not a file of COCO's instance annotations"):
        prepared(tmp_path / "out", source)


def test_without_annotations_it_says_what_is_needed(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    source = tmp_path / "from"
    write_zip(source / "train2017.zip", {f"train2017/{i}.jpg": encoded(picture(i), "JPEG") for i in COCO["train"]})
    with pytest.raises(
        BenchError, match=r"4 of 4 train masks missing .* Needed: train2017\.zip, val2017\.zip and annot"
    ):
        prepared(tmp_path / "out", source)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(
    elements=st.lists(_JSON, max_size=4),
    others=st.dictionaries(st.text(max_size=3), _JSON, max_size=3),
    indent=st.none() | st.just(1),
)
def test_a_walk_finds_what_the_decoder_finds(elements: list[Any], others: dict[str, Any], indent: int | None) -> None:
    whole = {**others, "wanted": elements}
    text, found = json.dumps(whole, indent=indent), list[Any]()

    def on_element(element: Any, begin: int, end: int) -> None:
        assert json.loads(text[begin:end]) == element
        found.append(element)

    walk_json(text, {"wanted": on_element})
    assert found == elements
