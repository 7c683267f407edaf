"""Whether data can be trained and scored on: asked before a grid's first cell starts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from bench.data.roots import DataRoots, open_dataset
from bench.errors import BenchError
from bench.spec.cell import Part

if TYPE_CHECKING:
    from datasets.base import Health
    from datasets.split import Manifest

_SHOWN = 3


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
