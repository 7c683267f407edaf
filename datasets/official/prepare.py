"""Making a dataset in VOC layout out of members of archives: whole files only, resumable, recorded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

from PIL import Image

from bench.errors import BenchError
from bench.files import file_digest, parse_json, remove_leftovers, write_if_changed
from bench.locks import lock
from bench.patience import read_bytes
from datasets.base import Progress, SplitName
from datasets.layout.checksums import read_checksums, write_checksums
from datasets.layout.files import on_threads
from datasets.official.archives import Member

RECORD = "prepared.json"
_LOCK = ".preparing.lock"
_BATCH = 32  # members held in memory at once


@dataclass(frozen=True)
class Pair:
    """An image and its mask in the sources; None for what isn't there."""

    image_id: str
    image: Member | None
    mask: Member | None


@dataclass(frozen=True)
class Preparation:
    """What a dataset makes of its sources.

    Attributes:
        masks: what the masks are from, in words; a preparation isn't resumed with masks from elsewhere.
        splits: pairs per split, in the order of the list.
        lists: further lists, by file name.
        unlabelled: training photographs without masks that the dataset offers, by id, in the order of their list.
    """

    masks: str
    splits: dict[SplitName, list[Pair]]
    lists: dict[str, list[str]] = field(default_factory=dict)
    unlabelled: Mapping[str, Member | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What a prepared folder says about itself (``prepared.json``).

    Attributes:
        dataset: name of the dataset's class.
        version: of the prepared pixels.
        size: (height, width) to which images and masks were resized, None for their own.
        masks: what the masks are from.
        sources: names of the archives and folders used.
        ready: False until every file is there and verified.
        shortfall: how it falls short of the published dataset, a line each; empty for the whole of it.
        unlabelled: the name of the photographs without masks that were prepared too; None for none.
    """

    dataset: str
    version: int
    size: tuple[int, int] | None
    masks: str
    sources: tuple[str, ...] = ()
    ready: bool = False
    shortfall: tuple[str, ...] = ()
    unlabelled: str | None = None


@dataclass(frozen=True)
class Conversion:
    """One file to make: `convert` turns the member's bytes into the target's."""

    member: Member
    target: Path
    convert: Callable[[Path, bytes], bytes]


def size_text(size: tuple[int, int] | None) -> str:
    """Return a size (height, width) in words, as it is written in a grid."""
    return "null (each image's own)" if size is None else f"[{size[0]}, {size[1]}]"


def read_record(root: Path) -> Record | None:
    """Return the record of a prepared folder, or None where there is none.

    Raises:
        BenchError: if it is damaged.
    """
    path = root / RECORD
    try:
        raw = parse_json(read_bytes(path), path, dict)
        size = None if raw["size"] is None else (int(raw["size"][0]), int(raw["size"][1]))
        lists = {key: tuple(map(str, raw[key])) for key in ("sources", "shortfall")}
        return Record(**{**raw, **lists, "size": size})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        raise BenchError(f"{path}: damaged; remove it and run `data prepare` again") from None


def write_record(root: Path, record: Record) -> None:
    """Write the record."""
    write_if_changed(root / RECORD, (json.dumps(asdict(record), indent=1) + "\n").encode())


@contextlib.contextmanager
def preparing(root: Path) -> Iterator[None]:
    """Hold the folder's lock, and remove at the start what a killed preparation left half-written.

    Raises:
        BenchError: if another process prepares it, or it can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / _LOCK).open("wb") as file:
            if not lock(file):
                raise BenchError(f"{root}: another process is preparing it; wait for that one")
            remove_leftovers(root, recursive=True)
            yield
    except OSError as error:
        raise BenchError(f"{error.filename or root}: can't be used ({error.strerror or error})") from None


def _convert(item: tuple[Conversion, bytes]) -> None:
    conversion, data = item
    # Not synced: that takes minutes for a dataset's files, each of which can be made again.
    write_if_changed(conversion.target, conversion.convert(conversion.member.where, data), sync=False)


def run_conversions(conversions: Sequence[Conversion], step: Callable[[int], None]) -> None:
    """Make every file that isn't there yet.

    Members are read in the order of their archive, by one thread (to go back in a compressed tar is to start again);
    decoding and encoding is done on all.

    Args:
        conversions: what to make.
        step: called with the number of files that were done.
    """
    todo = [conversion for conversion in conversions if not conversion.target.is_file()]
    step(len(conversions) - len(todo))
    todo.sort(key=lambda conversion: (conversion.member.origin.path, conversion.member.index))
    for start in range(0, len(todo), _BATCH):
        batch = [(conversion, conversion.member.read()) for conversion in todo[start : start + _BATCH]]
        on_threads(_convert, batch)
        step(len(batch))


def make_files(
    root: Path,
    pairs: Sequence[tuple[Conversion, Conversion]],
    single: Sequence[Conversion],
    texts: Mapping[Path, Sequence[str]],
    progress: Progress | None,
) -> None:
    """Make every file of a dataset that isn't there yet, and write down what they all are.

    Args:
        root: the dataset's folder.
        pairs: images with their masks, which must be of one size.
        single: images without.
        texts: lines of the lists.
        progress: called with (done, total), where each image and mask counts when it is made and when it is hashed.

    Raises:
        BenchError: if a member is damaged, or an image and its mask differ in size.
    """
    conversions = [*chain.from_iterable(pairs), *single]
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done = min(done + count, 2 * len(conversions))  # the few lists that are hashed too don't count
        if progress is not None:
            progress(done, 2 * len(conversions))

    run_conversions(conversions, step)
    verify_sizes((image.target, mask.target) for image, mask in pairs)
    for path, lines in texts.items():
        write_if_changed(path, "".join(f"{line}\n" for line in lines).encode())
    write_checksums(root, [*(conversion.target for conversion in conversions), *texts], step)


def verify_sizes(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Compare each image's size with its mask's. Of a pair that differs both files are removed, to be made again.

    Raises:
        BenchError: naming the first such pair.
    """
    differing: list[str] = []
    for image_path, mask_path in pairs:
        with Image.open(image_path) as image, Image.open(mask_path) as mask:
            sizes = image.size, mask.size
        if sizes[0] != sizes[1]:
            differing.append(f"{image_path.name} is {sizes[0]}, its mask {sizes[1]} (width, height)")
            image_path.unlink()
            mask_path.unlink()
    if differing:
        raise BenchError(f"{len(differing)} images and masks differ in size: {differing[0]}; get the archives again")


def is_whole(root: Path) -> bool:
    """Return whether every file that was prepared is there."""
    checksums = read_checksums(root)
    return bool(checksums) and all((root / path).is_file() for path in checksums)


def changed_files(root: Path, progress: Progress | None) -> list[str]:
    """Return a line for each prepared file that is missing or differs from what was prepared."""
    expected = read_checksums(root)

    def problem(path: str) -> str | None:
        try:
            same = file_digest(root / path) == expected[path]
        except OSError:
            same = False
        return None if same else f"{root / path}: not as it was prepared; remove it and run `data prepare` again"

    return [line for line in on_threads(problem, list(expected), progress) if line is not None]


def usable(preparation: Preparation, source: Path, wanted: str) -> dict[SplitName, list[Pair]]:
    """Return the pairs of which both files are there.

    Raises:
        BenchError: if a split has none.
    """
    splits = {s: [p for p in pairs if p.image and p.mask] for s, pairs in preparation.splits.items()}
    for split, pairs in splits.items():
        if not pairs:
            raise BenchError(f"--from {source}: no {split} image with a mask. Needed: {wanted}")
    return splits


def shortfalls(
    preparation: Preparation,
    published: Mapping[SplitName, int],
    unlabelled: str | None,
    published_unlabelled: Mapping[str, int],
) -> list[str]:
    """Return how a preparation falls short of the published dataset, a line each.

    Args:
        preparation: of the sources.
        published: number of images by split.
        unlabelled: the name of the photographs without masks that are wanted; None for none.
        published_unlabelled: number of photographs by such a name.
    """
    lines = []
    for split, pairs in preparation.splits.items():
        images, masks = [(p.image_id, p.image) for p in pairs], [(p.image_id, p.mask) for p in pairs]
        lines += [*_missing(f"{split} image", images), *_missing(f"{split} mask", masks)]
        lines += _miscounted(split, len(pairs), published[split])
    if unlabelled is not None:
        lines += _missing(f"{unlabelled} image", list(preparation.unlabelled.items()))
        lines += _miscounted(unlabelled, len(preparation.unlabelled), published_unlabelled[unlabelled])
    return lines


def _missing(what: str, found: Sequence[tuple[str, Member | None]]) -> list[str]:
    lacking = [image_id for image_id, member in found if member is None]
    if not lacking:
        return []
    more = ", …" if len(lacking) > 3 else ""
    return [f"{len(lacking)} of {len(found)} {what}s missing ({', '.join(lacking[:3])}{more})"]


def _miscounted(name: str, count: int, published: int) -> list[str]:
    return [] if count == published else [f"{name} has {count:,} images, published are {published:,}"]
