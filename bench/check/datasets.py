"""What every dataset must keep: ids, images and masks that are the same each time, in their shapes and ranges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np

from bench.arrays import IGNORE_INDEX
from bench.check.outcomes import Check, demand, no_global_draws
from bench.data.roots import DataRoots, open_anew
from bench.spec.cell import Part
from datasets.base import DatasetConfig, SplitName

if TYPE_CHECKING:
    from datasets.base import SegmentationDataset

SAMPLE = 5  # images of a split that are decoded
SMALL = (24, 40)
Open = Callable[[], "SegmentationDataset"]


def _sample(dataset: SegmentationDataset, masks: bool = False) -> Iterator[str]:
    """Yield a few ids of the training and of the evaluated images, first and last included."""
    splits = (dataset.annotated if masks else dataset.ids("train"), dataset.ids(dataset.config.eval_split))
    for ids in splits:
        places = np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(int)
        yield from (ids[place] for place in dict.fromkeys(places.tolist()))


def names_classes(open_it: Open) -> str:
    """There are at most 255 classes, each with a name and a colour of its own."""
    dataset = open_it()
    classes, palette = dataset.classes, dataset.palette
    demand(2 <= len(classes) <= IGNORE_INDEX, f"{len(classes)} classes; there may be 2 to {IGNORE_INDEX}")
    demand(len(set(classes)) == len(classes), "two classes have the same name")
    demand(len(palette) == len(classes), f"{len(palette)} colours for {len(classes)} classes")
    demand(all(0 <= v <= 255 for colour in palette for v in colour), "a colour is beyond 0 to 255")
    return f"{len(classes)} classes"


def lists_images(open_it: Open) -> str:
    """Ids are the same each time, none twice, and no training image is evaluated."""
    dataset, again = open_it(), open_it()
    counts = {}
    for split in get_args(SplitName):
        ids = dataset.ids(split)
        demand(ids == again.ids(split), f"the ids of {split} are others the second time")
        demand(len(set(ids)) == len(ids), f"an id of {split} is there twice")
        counts[split] = len(ids)
    train, evaluated = set(dataset.ids("train")), dataset.config.eval_split
    demand(counts["train"] > 0 and counts[evaluated] > 0, f"no images to train on or none in {evaluated}: {counts}")
    shared = train & set(dataset.ids(evaluated))
    demand(dataset.config.overlap == "allow" or not shared, f"{len(shared)} training images are evaluated ones too")
    demand(set(dataset.annotated) <= train, "`annotated` has ids that aren't among the training images")
    return ", ".join(f"{count} {split}" for split, count in counts.items())


def decodes(open_it: Open) -> str:
    """Images are (H, W, 3) uint8, masks (H, W) uint8 of that size, with classes and 255 alone."""
    dataset, sizes = open_it(), set()
    count = len(dataset.classes)
    with no_global_draws():
        for image_id in _sample(dataset, masks=True):
            image, mask = dataset.image(image_id), dataset.mask(image_id)
            good = image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
            demand(good, f"{image_id}: the image is {image.shape} {image.dtype}, not (H, W, 3) uint8")
            good = mask.shape == image.shape[:2] and mask.dtype == np.uint8
            demand(good, f"{image_id}: the mask is {mask.shape} {mask.dtype}, the image {image.shape}")
            beyond = set(np.unique(mask).tolist()) - {*range(count), IGNORE_INDEX}
            demand(not beyond, f"{image_id}: the mask has values {sorted(beyond)} beyond its {count} classes and 255")
            sizes.add(f"{image.shape[0]}x{image.shape[1]}")
    return f"{len(sizes)} sizes, such as {min(sizes)}"


def reads_alike(open_it: Open) -> str:
    """The same images each time, from several threads as from one."""
    dataset, again = open_it(), open_it()
    ids = list(_sample(dataset))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(again.image, ids))
    same = all(np.array_equal(dataset.image(i), image) for i, image in zip(ids, together, strict=True))
    demand(same, "an image differs the second time, or read by several threads at once")
    return ""


def prepares_sizes(open_sized: Open) -> str:
    """With the option `size` images and masks have it."""
    dataset = open_sized()
    for image_id in list(_sample(dataset, masks=True))[:2]:
        shapes = dataset.image(image_id).shape[:2], dataset.mask(image_id).shape
        demand(shapes == (SMALL, SMALL), f"with size {SMALL} image and mask are {shapes[0]} and {shapes[1]}")
    return ""


def says_what_it_is(open_it: Open) -> str:
    """Every file that it names is there, and its facts are JSON."""
    dataset = open_it()
    files = [file for found in dataset.files("train").values() for file in found]
    missing = [file for file in files if not file.is_file()]
    demand(not missing, f"{len(missing)} files aren't there, such as {missing[0] if missing else ''}")
    json.dumps(dict(dataset.facts))
    return f"{len(files)} files"


def dataset_checks(part: Part, roots: DataRoots) -> list[Check]:
    """Return the checks of a dataset with its options.

    Args:
        part: the dataset.
        roots: where it lies.
    """
    config: DatasetConfig = part.config
    sized = Part(part.kind, part.name, config.model_copy(update={"size": SMALL, "long_side": None}))

    open_it = partial(open_anew, part, roots)
    same = "sort what a folder lists; keep no state that reading changes"
    return [
        Check(
            "opens",
            lambda: str(open_it().root),
            "__init__(config, root) reads lists, prepare() makes embedded data",
            first=True,
        ),
        Check("names its classes", partial(names_classes, open_it), "`classes` and `palette`, in the order of indices"),
        Check("lists its images", partial(lists_images, open_it), f"ids(split) returns a tuple; {same}", first=True),
        Check("decodes", partial(decodes, open_it), "map labels to 0 … K - 1, all others to 255; images are RGB"),
        Check("reads alike", partial(reads_alike, open_it), same),
        Check(
            "prepares sizes",
            partial(prepares_sizes, partial(open_anew, sized, roots)),
            "resize with bench.resize to config.prepared_size(height, width), masks by nearest neighbour",
        ),
        Check("says what it is", partial(says_what_it_is, open_it), "files(split) names what is read for each id"),
    ]
