"""Whether data can be trained and scored on: asked before a grid's first cell starts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from bench.data.roots import DataRoots, open_dataset
from bench.data.sizes import image_sizes
from bench.errors import BenchError
from bench.spec.cell import Part

if TYPE_CHECKING:
    from bench.spec.cell import Cell
    from bench.spec.sections import Evaluation
    from datasets.base import Health
    from datasets.split import Manifest

_SHOWN = 3
_OFTEN = 20  # times that an image is in one step, above which it is said


@lru_cache(maxsize=64)
def _health(part: Part, roots: DataRoots) -> Health:
    return open_dataset(part, roots).health()


def usable(part: Part, roots: DataRoots) -> list[str]:
    """Return what a person should know of a dataset before runs are made on it, a line each.

    Raises:
        BenchError: if a run on it would fail, or its score would be meaningless: the first few reasons, in one line.
    """
    health = _health(part, roots)
    if health.problems:
        more = len(health.problems) - _SHOWN
        raise BenchError(
            f"dataset '{part.name}': "
            + "; ".join(health.problems[:_SHOWN])
            + (f"; and {more} more problems, which `data check` lists" if more > 0 else "")
        )
    return [f"dataset '{part.name}': {line}" for line in health.warnings]


def check_padding(part: Part, evaluation: Evaluation, held: Sequence[str], roots: DataRoots, where: str) -> None:
    """Raise where an image that is evaluated is larger than the size to which images are padded: a run would fail there.

    Other evaluations of a run that can't be made cost no training, so they aren't looked at.

    Args:
        part: the dataset.
        evaluation: a run's.
        held: ids of the images that are held out of the labelled ones.
        roots: where datasets lie.
        where: for the message.

    Raises:
        BenchError: naming the key, and the size that is needed.
    """
    if evaluation.mode != "padded" or evaluation.size is None:
        return
    dataset, split = open_dataset(part, roots), part.config.eval_split
    found = {split: list(image_sizes(dataset, split).values())}
    if held:
        train = image_sizes(dataset, "train")
        found["holdout"] = [train[image_id] for image_id in held]
    for name, sizes in found.items():
        height, width = (max(size[side] for size in sizes) for side in (0, 1))
        if height > evaluation.size[0] or width > evaluation.size[1]:
            raise BenchError(
                f"{where}: evaluation.size: images of {name} have up to {height}×{width} pixels, more than "
                f"the {evaluation.size[0]}×{evaluation.size[1]} they are padded to; raise it or set dataset.size"
            )


def repeated_images(cell: Cell, manifest: Manifest) -> list[str]:
    """Return what is to be said of batches that hold each image many times, since there are so few."""
    pools = {"labelled": manifest.labelled}
    if getattr(cell.method.cls, "uses_unlabelled", True):
        pools["unlabelled"] = manifest.unlabelled
    found = []
    for name, ids in pools.items():
        batch = getattr(cell.schedule.batch, name)
        if ids and batch > _OFTEN * len(ids):
            found.append(
                f"schedule.batch.{name}: each step has {batch:,} images of {len(ids):,}, so each of "
                f"them {batch // len(ids):,} times or more ({manifest.title})"
            )
    return found


def warnings_of(drawn: Sequence[tuple[Cell, Manifest]], roots: DataRoots, where: str) -> list[str]:
    """Return what a person should know of cells and their splits, a line each.

    Raises:
        BenchError: see :func:`check_padding`.
    """
    for part, evaluation, held in dict.fromkeys((cell.dataset, cell.evaluation, m.holdout) for cell, m in drawn):
        check_padding(part, evaluation, held, roots, where)
    manifests = {manifest.sha256: manifest for _, manifest in drawn}.values()
    said = [line for manifest in manifests for line in shared_images(manifest)]
    return list(dict.fromkeys([*said, *(line for cell, manifest in drawn for line in repeated_images(cell, manifest))]))


def shared_images(manifest: Manifest) -> list[str]:
    """Return what is to be said of a split whose protocol allows labelled images in the list of unlabelled ones."""
    if manifest.protocol.get("name") != "files":  # the others give images both roles by their definition
        return []
    unlabelled = set(manifest.unlabelled)
    both = sum(image_id in unlabelled for image_id in manifest.labelled)
    if not both:
        return []
    return [
        f"protocol 'files' {manifest.title}: {both} of {len(manifest.labelled)} labelled images are unlabelled ones too"
    ]
