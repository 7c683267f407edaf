"""The walk of `data check` over a dataset in VOC layout: every problem, not only the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, get_args

from PIL import Image

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from datasets.base import CheckReport, Health, Progress, SplitName
from datasets.layout import health
from datasets.layout.decode import load_rgb, unlisted
from datasets.layout.files import escapes, illegal_labels, on_threads, read_lines
from datasets.layout.health import Pairs, judge, some


class Checked(health.Walked, Protocol):
    """What the walk asks of a dataset besides."""

    @property
    def photographs(self) -> tuple[str, ...]:
        """Ids of training images beside the list."""

    def list_path(self, split: SplitName) -> Path:
        """Return the list of a split."""

    def stored_mask(self, path: Path) -> Image.Image:
        """Return a mask's labels at the size in which it is stored."""

    def has_mask(self, image_id: str) -> bool:
        """Return whether an image needs no mask, or has one."""


@dataclass
class _Finding:
    problems: list[str] = field(default_factory=list)
    size: str | None = None  # of the image, "WxH"
    labels: Mapping[int, int] | None = None  # pixels by label, of the mask


def _list_problems(path: Path, ids: list[str]) -> list[str]:
    problems = [f"{path}: names '{i}' {count} times" for i, count in Counter(ids).items() if count > 1]
    problems += [f"{path}: '{i}' is outside the dataset's folder" for i in dict.fromkeys(ids) if escapes(i)]
    return problems if ids else [f"{path}: names no ids"]


def _read_lists(dataset: Checked, report: CheckReport) -> dict[SplitName, list[str]]:
    """Read the lists that are there; those of training and evaluation must be."""
    needed = {"train", dataset.config.eval_split}
    lists: dict[SplitName, list[str]] = {}
    for split in get_args(SplitName):
        path = dataset.list_path(split)
        if not path.exists() and split not in needed:
            continue
        try:
            ids = [line for line in read_lines(path) if line]
        except BenchError as error:
            report.problems.append(str(error))
            continue
        report.problems += _list_problems(path, ids)
        lists[split] = [i for i in dict.fromkeys(ids) if not escapes(i)]
        report.counts[split] = len(ids)
    if "train" in lists:
        _add_photographs(dataset, report, lists["train"])
    return lists


def _add_photographs(dataset: Checked, report: CheckReport, train: list[str]) -> None:
    try:
        more = dataset.photographs
    except BenchError as error:
        report.problems.append(str(error))
        return
    train += [i for i in more if i not in set(train)]
    report.counts["train"] += len(more)


def _overlaps(dataset: Checked, report: CheckReport, lists: Mapping[SplitName, list[str]]) -> None:
    found = Health()
    for split in ("val", "test"):
        if split in lists and "train" in lists:
            config = dataset.config.model_copy(update={"eval_split": split})
            health.overlap(found, config, lists["train"], lists[split])
    both = set(lists.get("val", ())) & set(lists.get("test", ()))
    found.warnings += [f"{len(both)} images are in both val and test ({some(sorted(both))})"] if both else []
    report.problems += found.problems
    report.notes += found.warnings


def _with_masks(dataset: Checked, report: CheckReport, lists: Mapping[SplitName, list[str]]) -> list[str]:
    """Return the ids whose masks are looked at, and count them.

    A split that isn't evaluated may lack masks, and training images without one are unlabelled photographs.
    """
    found: list[str] = []
    for split, ids in lists.items():
        there = [i for i in ids if split == dataset.config.eval_split or dataset.has_mask(i)]
        report.annotated[split] = len(there)
        if len(there) < len(ids):
            use = "trained on as unlabelled" if split == "train" else "nothing scores them"
            report.notes.append(f"{split}: {len(there)} images with a mask, {len(ids) - len(there)} without ({use})")
        found += there
    return found


def _examine(dataset: Checked, pairs: Pairs, faulty: Mapping[str, list[str]], image_id: str) -> _Finding:
    """Decode one image and its mask, as far as their headers can be read."""
    finding = _Finding([*faulty.get(image_id, ())])
    image_there, mask_there = pairs.readable(image_id)
    if image_there:
        try:
            image = load_rgb(dataset.image_path(image_id), max_pixels=dataset.max_pixels)
            finding.size = f"{image.width}x{image.height}"
        except BenchError as error:
            finding.problems.append(str(error))
    if mask_there:
        _examine_mask(dataset, dataset.mask_path(image_id), finding)
    return finding


def _examine_mask(dataset: Checked, path: Path, finding: _Finding) -> None:
    try:
        histogram = dataset.stored_mask(path).histogram()
    except BenchError as error:
        finding.problems.append(str(error))
        return
    finding.labels = {label: count for label, count in enumerate(histogram) if count}
    illegal = illegal_labels(histogram, len(_classes(dataset)))
    if illegal:
        finding.problems.append(f"{path}: illegal label values {unlisted(illegal)}")


def _classes(dataset: Checked, report: CheckReport | None = None) -> tuple[str, ...]:
    """Return the class names, or every index as a name where they can't be read (which is a problem)."""
    try:
        return dataset.classes
    except BenchError as error:
        if report is not None:
            report.problems.append(str(error))
            report.classes_known = False
        return tuple(map(str, range(IGNORE_INDEX)))


def _tally(report: CheckReport, findings: Mapping[str, _Finding], classes: tuple[str, ...]) -> None:
    names = {**dict(enumerate(classes)), IGNORE_INDEX: "void"}
    masks = [finding.labels for finding in findings.values() if finding.labels is not None]
    for index, name in names.items():
        report.class_pixels[name] = sum(mask.get(index, 0) for mask in masks)
        report.class_images[name] = sum(index in mask for mask in masks)
    report.sizes = dict(Counter(f.size for f in findings.values() if f.size is not None).most_common())
    for finding in findings.values():
        report.problems += finding.problems


def _judge(
    dataset: Checked, report: CheckReport, lists: Mapping[SplitName, list[str]], findings: Mapping[str, _Finding]
) -> None:
    for split, ids in lists.items():
        masks = [labels for i in ids if i in findings and (labels := findings[i].labels) is not None]
        if masks and split in ("train", dataset.config.eval_split):
            judged = judge(split, masks, dataset.classes, thorough=True)
            report.problems += judged.problems
            report.notes += judged.warnings


def check_layout(dataset: Checked, progress: Progress | None = None) -> CheckReport:
    """Walk a dataset in VOC layout.

    Every list, image and mask is read in full; an id that several lists name is read and counted once.

    Args:
        dataset: what to walk.
        progress: called with (done, total) images.

    Returns:
        Counts, class histogram, image sizes, and each problem as one line.
    """
    report = CheckReport(type(dataset).__name__, str(dataset.root))
    if not dataset.root.is_dir():
        report.problems.append(f"{dataset.root}: there is no such folder")
        return report
    classes = _classes(dataset, report)
    lists = _read_lists(dataset, report)
    _overlaps(dataset, report, lists)
    ids = list(dict.fromkeys(i for ids in lists.values() for i in ids))
    masks = _with_masks(dataset, report, lists)
    pairs = Pairs(dataset, ids, dict.fromkeys(masks))
    examine = partial(_examine, dataset, pairs, pairs.faulty())
    findings = dict(zip(ids, on_threads(examine, ids, progress), strict=True))
    report.notes += pairs.warnings()
    if {"train", dataset.config.eval_split} <= lists.keys():
        evaluated = dataset.config.eval_split
        report.notes += pairs.twins(lists["train"], lists[evaluated], evaluated)
    _tally(report, findings, classes)
    if report.classes_known:
        _judge(dataset, report, lists, findings)
    report.problems = list(dict.fromkeys(report.problems))
    return report
