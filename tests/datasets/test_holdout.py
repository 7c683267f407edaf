"""Images held out of the labelled ones: against brute force, disjoint, counted, the same for every method."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy.stats import chisquare
from typer.testing import CliRunner

from bench import registry
from bench.cli.app import app
from bench.data.splits import load_split, read_manifest, split_path
from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import make_plan, planned_summary
from datasets.protocols.few_labels import FewLabels, FewLabelsConfig
from datasets.protocols.full import Full
from datasets.protocols.partial import Partial, PartialConfig
from datasets.protocols.ratio import Ratio, RatioConfig
from datasets.split import Protocol, Split, hold_out
from tests.conftest import GRID

TOY = registry.get("dataset", "toy")(registry.get("dataset", "toy").Config(), Path())
PROTOCOLS: list[Protocol] = [
    FewLabels(FewLabelsConfig(labels=8)),
    Ratio(RatioConfig(share="1/2")),
    Full(Full.Config()),
    Partial(PartialConfig(pixels="5%")),
]


def smallest_hashes(ids: tuple[str, ...], count: int, seed: int) -> list[str]:
    """The rule written down again: the ids whose 63-bit little-endian BLAKE2b of (seed, 'holdout', id) is smallest."""

    def key(image_id: str) -> int:
        text = f"({seed}, 'holdout', '{image_id}')"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") // 2

    return sorted(ids, key=key)[:count]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: type(protocol).__name__)
@pytest.mark.parametrize("count", [1, 3, 7])
def test_held_out_images_are_disjoint_counted_and_in_no_list(protocol: Protocol, count: int) -> None:
    for seed in range(3):
        drawn = protocol.split(TOY, seed)
        split = hold_out(drawn, count, seed)
        assert list(split.holdout) == smallest_hashes(drawn.labelled, count, seed)
        assert sorted(split.budget) == sorted(drawn.labelled) and len(split.holdout) == count
        assert not set(split.holdout) & (set(split.labelled) | set(split.unlabelled))
        assert list(split.labelled) == [i for i in drawn.labelled if i in split.labelled]
        assert list(split.unlabelled) == [i for i in drawn.unlabelled if i not in split.holdout]
        assert split.visible_labels == drawn.visible_labels
        assert split.sha256 not in (drawn.sha256, Split(split.labelled, split.unlabelled, split.visible_labels).sha256)


def test_fewer_are_the_beginning_of_more_and_order_is_nothing() -> None:
    drawn = Ratio(RatioConfig(share="1/2")).split(TOY, 4)
    many = hold_out(drawn, 9, 4).holdout
    assert [hold_out(drawn, count, 4).holdout for count in range(1, 9)] == [many[:count] for count in range(1, 9)]
    turned = Split(drawn.labelled[::-1], drawn.unlabelled[::-1])
    assert hold_out(turned, 9, 4).holdout == many
    assert hold_out(drawn, 0, 4) == drawn
    assert len({hold_out(drawn, 3, seed).holdout for seed in range(10)}) > 5


def test_every_labelled_image_is_as_likely() -> None:
    ids = tuple(f"image{i}" for i in range(10))
    counts = Counter(i for seed in range(1000) for i in hold_out(Split(ids, ()), 2, seed).holdout)
    assert chisquare([counts[i] for i in ids]).pvalue > 0.001


def plan(tmp_path: Path, sets: tuple[str, ...] = (), **changes: Any) -> Request:
    content = yaml.safe_load(GRID)
    content["recipe"]["evaluation"] |= {"select_on": "holdout", "holdout": 2}
    content["axes"] |= {"method": ["supervised", "classmix"], "seed": [0, 1]}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}))
    return Request(str(path), sets, (), tmp_path / "store")


def test_the_split_names_them_and_every_method_gets_the_same(tmp_path: Path) -> None:
    request = plan(tmp_path)
    made = make_plan(request)
    by_seed: dict[int, set[str]] = {}
    for planned in made.cells:
        by_seed.setdefault(planned.cell.seeds.split, set()).add(planned.cell.split_sha256)
    assert [len(found) for found in by_seed.values()] == [1, 1]
    for seed, (sha256,) in by_seed.items():
        split, manifest = load_split(request.store, sha256), read_manifest(split_path(request.store, sha256))
        drawn = FewLabels(FewLabelsConfig(labels=4)).split(TOY, seed)
        assert list(split.holdout) == list(manifest.holdout) == smallest_hashes(drawn.labelled, 2, seed)
        assert manifest.as_json()["holdout"] == list(split.holdout)
        assert sum(manifest.labelled_images_per_class.values()) == 2 * 2  # two images of ground and a square
        assert made.cells[0].cell.title == "4"  # the budget stays what it was
    kept = planned_summary(request)  # drawn again, with the holdout, to see that the plan holds
    assert {split.holdout for split in kept.freshness.splits} == {2}
    without = make_plan(plan(tmp_path, ("evaluation.select_on=none", "evaluation.holdout=null")))
    plain = yaml.safe_load(GRID) | {"axes": {"method": ["supervised", "classmix"], "seed": [0, 1]}}
    plain["recipe"]["protocol"] = {"few_labels": 4}
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(plain))
    ids = [p.cell.id for p in make_plan(Request(str(tmp_path / "plain.yaml"), (), (), tmp_path / "store")).cells]
    assert [planned.cell.id for planned in without.cells] == ids
    assert not set(ids) & {planned.cell.id for planned in made.cells}


def test_the_verb_split_names_them(tmp_path: Path) -> None:
    arguments = ["split", "toy", "few_labels=8", "--seed", "2", "--holdout", "3", "--store", str(tmp_path)]
    manifest = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    split = hold_out(PROTOCOLS[0].split(TOY, 2), 3, 2)
    assert (manifest["labelled"], manifest["holdout"]) == (list(split.labelled), list(split.holdout))
    assert manifest["sha256"] == split.sha256
    assert "held out of the labelled: " + " ".join(split.holdout) in CliRunner().invoke(app, arguments).stdout


@pytest.mark.parametrize(
    ("sets", "changes", "message"),
    [
        (("evaluation.holdout=4",), {}, "holdout 4: a split has 4 labelled images, and at least one must be left"),
        (("evaluation.holdout=null",), {}, "select_on 'holdout' needs holdout"),
        (("evaluation.select_on=none",), {}, "holdout is for select_on 'holdout'"),
        (("evaluation.holdout=0",), {}, "evaluation.holdout: input should be greater than 0"),
        (("evaluation.select_on=none", "evaluation.holdout=null"), {"select": "selected"}, "select: 'selected' needs"),
    ],
)
def test_what_cannot_be_held_out_is_one_line(
    tmp_path: Path, sets: tuple[str, ...], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        make_plan(plan(tmp_path, sets, **changes))
    assert "\n" not in str(caught.value)
