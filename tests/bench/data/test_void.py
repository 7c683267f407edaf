"""Images that are void from edge to edge: what can't be learnt or scored is refused when a grid is planned."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bench.errors import BenchError
from bench.plan.cells import Plan, resolve_grid
from bench.plan.request import Request
from bench.seeds import derive
from tests.datasets.made import make_voc, open_voc

TRAIN = tuple("abcdefgh")
HELD = "".join(sorted(TRAIN, key=lambda i: derive(0, "holdout", i))[:2])


def planned(root: Path, void: str, *sets: str) -> Plan:
    make_voc(root, {"train": TRAIN, "val": ("x", "y")})
    for image_id in void:
        Image.new("L", (16, 12), 255).save(root / f"SegmentationClass/{image_id}.png")
    (root / "g.yaml").write_text("recipe: {dataset: folder}\n")
    return resolve_grid(Request(str(root / "g.yaml"), sets=sets, data=(f"folder={root}",)))


def test_some_void_images_are_no_fault(tmp_path: Path) -> None:
    assert planned(tmp_path, "abcx").cells


@pytest.mark.parametrize(
    ("void", "sets", "said"),
    [
        ("xy", (), "val: no mask has a pixel with a label, all are void (255); nothing can be scored"),
        ("abcdefgh", (), "protocol 'full', split seed 0: the labelled images have no pixel with a label, all are void"),
        ("a", ("protocol={ratio: 1/8}",), "protocol 'ratio', split seed 0: the labelled images have no pixel"),
        (
            HELD,
            ("evaluation={select_on: holdout, holdout: 2}",),
            "evaluation.holdout 2: the images that are held out have no pixel with a label",
        ),
    ],
    ids=["val", "all", "labelled", "held out"],
)
def test_nothing_but_void_is_refused(tmp_path: Path, void: str, sets: tuple[str, ...], said: str) -> None:
    with pytest.raises(BenchError) as error:
        planned(tmp_path, void, *sets)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_check_says_the_same(tmp_path: Path) -> None:
    with pytest.raises(BenchError):
        planned(tmp_path, "".join(TRAIN))
    said = "train: no mask has a pixel with a label, all are void (255); nothing can be learnt"
    assert said in open_voc(tmp_path).check().problems
