"""The walk of `data check` over a dataset in VOC layout: every problem, not only the first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Protocol, get_args

from PIL import Image

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from datasets.base import CheckReport, DatasetConfig, Progress, SplitName
from datasets.layout.files import escapes, illegal_labels, load_index_mask, load_rgb, on_threads, read_lines


class Walked(Protocol):
    """What the walk asks of a dataset."""

    root: Path
    config: DatasetConfig

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""

    def list_path(self, split: SplitName) -> Path:
        """Return the list of a split."""

    def image_path(self, image_id: str) -> Path:
        """Return an image's file."""

    def mask_path(self, image_id: str) -> Path:
        """Return a mask's file."""


@dataclass
class _Finding:
    problems: list[str] = field(default_factory=list)
    size: str | None = None  # of the image, "WxH"
    histogram: list[int] = field(default_factory=lambda: [0] * 256)  # of the mask


def _list_problems(path: Path, ids: list[str]) -> list[str]:
    problems = [f"{path}: names '{i}' {count} times" for i, count in Counter(ids).items() if count > 1]
    problems += [f"{path}: '{i}' is outside the dataset's folder" for i in dict.fromkeys(ids) if escapes(i)]
    return problems if ids else [f"{path}: names no ids"]


def _read_lists(dataset: Walked, report: CheckReport) -> dict[SplitName, list[str]]:
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
        report.counts[split] = len(ids)
        lists[split] = ids
    for (a, first), (b, second) in combinations(lists.items(), 2):
        twice = set(second)
        report.problems += [f"'{i}' is in both {a} and {b}" for i in dict.fromkeys(first) if i in twice]
    return lists


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"


def _examine(dataset: Walked, image_id: str, num_classes: int) -> _Finding:
    """Decode one image and its mask."""
    finding = _Finding()
    mask_path = dataset.mask_path(image_id)
    try:
        finding.size = _size(load_rgb(dataset.image_path(image_id)))
    except BenchError as error:
        finding.problems.append(str(error))
    try:
        mask = load_index_mask(mask_path)
    except BenchError as error:
        finding.problems.append(str(error))
        return finding
    finding.histogram = mask.histogram()
    illegal = illegal_labels(finding.histogram, num_classes)
    if illegal:
        finding.problems.append(f"{mask_path}: illegal label values {', '.join(map(str, illegal))}")
    if finding.size is not None and finding.size != _size(mask):
        finding.problems.append(f"{mask_path}: the mask is {_size(mask)}, its image {finding.size}")
    return finding


def _classes(dataset: Walked, report: CheckReport) -> tuple[str, ...]:
    """Return the class names, or every index as a name where they can't be read (which is a problem)."""
    try:
        return dataset.classes
    except BenchError as error:
        report.problems.append(str(error))
        return tuple(map(str, range(IGNORE_INDEX)))


def _tally(report: CheckReport, findings: list[_Finding], classes: tuple[str, ...]) -> None:
    names = {**dict(enumerate(classes)), IGNORE_INDEX: "void"}
    for index, name in names.items():
        report.class_pixels[name] = sum(f.histogram[index] for f in findings)
        report.class_images[name] = sum(f.histogram[index] > 0 for f in findings)
    report.sizes = dict(Counter(f.size for f in findings if f.size is not None).most_common())
    for finding in findings:
        report.problems += finding.problems


def check_layout(dataset: Walked, progress: Progress | None = None) -> CheckReport:
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
    ids = [i for i in dict.fromkeys(i for ids in lists.values() for i in ids) if not escapes(i)]
    findings = on_threads(lambda image_id: _examine(dataset, image_id, len(classes)), ids, progress)
    _tally(report, findings, classes)
    return report
