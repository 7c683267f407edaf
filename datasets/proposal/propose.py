"""A `dataset:` block for a folder of somebody's images and masks: layout, classes, and lists of train, val and test."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from bench.seeds import derive
from datasets.base import Progress
from datasets.layout.decode import MASK_SUFFIXES, colours_of, load_index_mask, load_mask
from datasets.layout.files import on_threads, read_classes, read_lines
from datasets.layout.label_map import VOID, read_label_map
from datasets.layout.places import images_in
from datasets.proposal.pairing import MOST_VALUES, Pairing, find_pairs

LISTS = "splits"  # the folder of the lists that are written
BLOCK = "dataset.yaml"
_SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_MAP_FILES = ("labelmap.txt", "*.yaml", "*.yml", "*.csv")
_CLASS_FILES = ("classes.txt", "class_names.txt", "labels.txt")
_SEQUENCE = re.compile(r"(.*?)[_\-.]?\d+")

Groups = Callable[[str], str]


@dataclass
class Proposal:
    """What a folder's dataset could be.

    Attributes:
        block: the options of ``folder``, as YAML types.
        lists: ids per split that are to be written; none where the folder has lists already.
        counts: images per split with and without a mask.
        notes: what a person should look at, a line each.
    """

    block: dict[str, object]
    lists: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def propose(
    root: Path, seed: int = 0, val: float = 0.2, test: float = 0.0, groups: str = "", progress: Progress | None = None
) -> Proposal:
    """Look at a folder and propose a dataset.

    Args:
        root: the folder.
        seed: of the draw of val and test.
        val, test: their shares of the images with a mask.
        groups: images of one group stay on one side: see :func:`grouping`.
        progress: called with (done, total) masks.

    Raises:
        BenchError: if no images with masks are found, or a group can't be told.
    """
    files = [path for path in images_in(root, MASK_SUFFIXES) if LISTS not in path.relative_to(root).parts[:1]]
    if not files:
        raise BenchError(f"{root}: no images in it")
    pairing = find_pairs(root, files)
    name = re.sub(r"[^\w.-]+", "-", root.resolve().name).strip("-.") or "mine"
    found = Proposal({"name": "folder", "title": name, "data": name, "images": pairing.images, "masks": pairing.masks})
    _lists(found, root, pairing, _shares(val, test), seed, groups)
    _classes(found, root, pairing, progress)
    _elsewhere(found, root, pairing)
    return found


def _shares(val: float, test: float) -> dict[str, float]:
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise BenchError(f"--val {val:g}, --test {test:g}: shares above 0 (test may be 0), together below 1")
    return {"val": val, "test": test} if test else {"val": val}


# -- lists -----------------------------------------------------------------------------------------------------------------


def _lists(found: Proposal, root: Path, pairing: Pairing, shares: Mapping[str, float], seed: int, groups: str) -> None:
    known = {**pairing.pairs, **pairing.bare}
    folder = _folder_of_lists(root, known.keys())
    if folder is not None:
        found.block["lists"] = folder
        found.notes.append(f"lists: those in {folder}/ are used")
        ids = {s: [i for i in read_lines(p) if i] for s in _SPLIT_FOLDERS if (p := root / folder / f"{s}.txt").exists()}
    else:
        found.block["lists"] = LISTS
        ids = _by_folder(pairing) or _draw(pairing, shares, seed, grouping(groups, root))
        found.lists = ids
        if not groups and (sequences := _sequences(list(pairing.pairs))) and not _by_folder(pairing):
            found.notes.append(
                f"the names look like frames of {sequences} sequences: frames of one would be on both sides; "
                "--groups prefix keeps each on one side"
            )
    for split, some in ids.items():
        masks = sum(i in pairing.pairs for i in some)
        found.counts[split] = (masks, len(some) - masks)


def _folder_of_lists(root: Path, ids: object) -> str | None:
    """Return the folder that has train.txt and val.txt whose lines are ids."""
    known = set(ids)  # type: ignore[call-overload]
    for path in sorted(root.rglob("train.txt")):
        if (path.parent / "val.txt").is_file():
            lines = [line for line in read_lines(path) + read_lines(path.parent / "val.txt") if line]
            if lines and set(lines) <= known:
                return path.parent.relative_to(root).as_posix()
    return None


def _by_folder(pairing: Pairing) -> dict[str, list[str]]:
    """Return the split that the folders of the ids name; nothing where they name none, or no val."""
    names = {name: split for split, names in _SPLIT_FOLDERS.items() for name in names}
    ids: dict[str, list[str]] = defaultdict(list)
    for image_id in [*pairing.pairs, *pairing.bare]:
        parts = [names[part.lower()] for part in PurePosixPath(image_id).parts[:-1] if part.lower() in names]
        ids[parts[0] if parts else "train"].append(image_id)
    return {split: ids[split] for split in _SPLIT_FOLDERS if ids[split]} if ids["val"] and ids["train"] else {}


def grouping(rule: str, root: Path) -> Groups:
    """Return which group an id belongs to.

    Args:
        rule: "" (each image is one), ``folder`` (the id's), ``prefix`` (what stands before a number at the end of the id),
            or ``FILE.csv:COLUMN``, a table whose first column has ids or file names.
        root: in which a relative FILE is looked for after the working directory.

    Raises:
        BenchError: if the rule can't be used.
    """
    if not rule:
        return lambda image_id: image_id
    if rule == "folder":
        return lambda image_id: PurePosixPath(image_id).parent.as_posix()
    if rule == "prefix":
        return lambda image_id: match[1] if (match := _SEQUENCE.fullmatch(image_id)) else image_id
    name, _, column = rule.rpartition(":")
    if not (name and column):
        raise BenchError(f"--groups {rule}: give folder, prefix, or FILE.csv:COLUMN")
    path = Path(name) if Path(name).is_file() else root / name
    rows = list(csv.DictReader(read_lines(path)))
    if not rows or column not in rows[0]:
        raise BenchError(f"{path}: no column '{column}'" + (f"; there are {', '.join(rows[0])}" if rows else ""))
    first = next(iter(rows[0]))
    table = {PurePosixPath(row[first]).with_suffix("").as_posix(): row[column] for row in rows}
    table |= {row[first]: row[column] for row in rows}

    def of(image_id: str) -> str:
        for key in (image_id, PurePosixPath(image_id).name):
            if key in table:
                return table[key]
        raise BenchError(f"{path}: no row for '{image_id}' in column '{first}'")

    return of


def _draw(pairing: Pairing, shares: Mapping[str, float], seed: int, group: Groups) -> dict[str, list[str]]:
    """Draw val and test among the images with a mask, whole groups at a time; the others are training images."""
    members: dict[str, list[str]] = defaultdict(list)
    for image_id in [*pairing.pairs, *pairing.bare]:
        members[group(image_id)].append(image_id)
    order = sorted(members, key=lambda name: (derive(seed, "data init", name), name))
    ids: dict[str, list[str]] = {"train": [], **{split: [] for split in shares}}
    for name in order:
        masked = [i for i in members[name] if i in pairing.pairs]
        split = next((s for s, share in shares.items() if masked and len(ids[s]) < share * len(pairing.pairs)), "train")
        ids[split] += masked if split != "train" else members[name]
    for split in shares:
        if not ids[split] or not any(i in pairing.pairs for i in ids["train"]):
            raise BenchError(f"{len(members)} groups are too few for a {split} split beside the training images")
    return {split: sorted(some) for split, some in ids.items()}


def _sequences(ids: Sequence[str]) -> int:
    """Return how many sequences ids seem to be frames of; 0 where they don't."""
    found = Counter(match[1] for i in ids if (match := _SEQUENCE.fullmatch(i)) and match[1].strip("/_-. "))
    frames = sum(found.values())
    return len(found) if len(found) > 1 and frames >= 0.9 * len(ids) and frames >= 5 * len(found) else 0


# -- classes ---------------------------------------------------------------------------------------------------------------


def _classes(found: Proposal, root: Path, pairing: Pairing, progress: Progress | None) -> None:
    masks = [mask for _, mask in pairing.pairs.values()]
    read = _colours if pairing.in_colours else _values
    values = sorted(set[int]().union(*on_threads(read, masks, progress)))
    if len(values) > IGNORE_INDEX or (pairing.in_colours and len(values) > 4 * MOST_VALUES):
        raise BenchError(
            f"{root}: the masks hold {len(values)} different colours: smoothed or lossily compressed, so that their classes "
            "can't be told; export them without antialiasing, as PNG"
        )
    if not pairing.in_colours and _class_file(found, root, values):
        return
    if (name := _map_file(root, values, pairing.in_colours)) is not None:
        found.block["classes"] = name
        found.notes.append(f"classes: from {name}")
        return
    found.block["classes"] = _named(values, pairing.in_colours)
    found.notes.append("classes: named by number; write their names into the block")


def _values(path: Path) -> set[int]:
    return set(np.unique(np.asarray(load_index_mask(path))).tolist())


def _colours(path: Path) -> set[int]:
    rgb = colours_of(load_mask(path), path).reshape(-1, 3).astype(np.uint32)
    return set(np.unique(rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2]).tolist())


def _class_file(found: Proposal, root: Path, values: Sequence[int]) -> bool:
    """Use a file of class names, an index a line, where its number fits the values."""
    for name in _CLASS_FILES:
        try:
            classes = read_classes(root / name)
        except BenchError:
            continue
        if all(value < len(classes) or value == IGNORE_INDEX for value in values):
            found.block["classes_file"] = name
            found.notes.append(f"classes: from {name}")
            return True
    return False


def _map_file(root: Path, values: Sequence[int], in_colours: bool) -> str | None:
    """Return the name of a file that says what all values or colours mean."""
    for path in [path for pattern in _MAP_FILES for path in sorted(root.glob(pattern)) if path.name != BLOCK]:
        try:
            label_map = read_label_map(path)
        except BenchError:
            continue
        if label_map.in_colours == in_colours and set(values) <= label_map.keys:
            return path.name
    return None


def _named(values: Sequence[int], in_colours: bool) -> dict[str, str]:
    """Name values: 0 or black is background, 255 void beside several others, the rest are numbered."""
    names: dict[str, str] = {}
    for value in values:
        text = f"#{value:06x}" if in_colours else str(value)
        if value == 0:
            names[text] = "background"
        elif not in_colours and value == IGNORE_INDEX and len(values) > 2:
            names[text] = VOID
        else:
            names[text] = f"class_{len(names)}"
    return names


def _elsewhere(found: Proposal, root: Path, pairing: Pairing) -> None:
    """Propose the folder that has most of the images that are no pair's."""
    tops = Counter(
        path.relative_to(root).parts[0] for path in pairing.elsewhere if len(path.relative_to(root).parts) > 1
    )
    if tops:
        ((folder, count),) = tops.most_common(1)
        found.block["unlabelled_images"] = folder
        found.notes.append(f"unlabelled_images: {folder}/ has {count} images that no mask belongs to")
