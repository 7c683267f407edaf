"""Where datasets lie, and opening them. The place of the data is never part of a cell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.files import REPOSITORY
from bench.spec.cell import Part
from bench.yaml import RawView

if TYPE_CHECKING:
    from datasets.base import SegmentationDataset


@dataclass(frozen=True)
class DataRoots:
    """The folder of each dataset: ``--data NAME=DIR`` first, then ``$BENCH_DATA/NAME``, then ``data/NAME`` here."""

    given: tuple[tuple[str, Path], ...] = field(default=())

    @classmethod
    def parse(cls, values: Sequence[str], must_exist: bool = True) -> DataRoots:
        """Read ``NAME=DIR`` values.

        Args:
            values: what was given.
            must_exist: False where the folder is yet to be made.

        Raises:
            BenchError: if one is malformed or names no folder.
        """
        given = []
        for value in values:
            name, equals, folder = value.partition("=")
            if not (name and equals and folder):
                raise BenchError(f"--data {value}: expected NAME=DIR, e.g. --data camvid=/data/camvid")
            if must_exist and not Path(folder).is_dir():
                raise BenchError(f"--data {value}: there is no folder {folder}")
            given.append((name, Path(folder).resolve()))
        return cls(tuple(given))

    def of(self, part: Part) -> Path:
        """Return the folder of a dataset, whether it exists or not."""
        return self.root(name_of(part.spec()))

    def root(self, name: str) -> Path:
        """Return the folder of a name, whether it exists or not."""
        base = Path(os.environ.get("BENCH_DATA") or REPOSITORY / "data")
        return dict(self.given).get(name, (base / name).resolve())


def name_of(dataset: RawView) -> str:
    """Return the name under which a dataset's data is looked for: that of its option `data`, else its own."""
    return str(dataset.get("data") or dataset["name"])


@lru_cache(maxsize=64)
def open_dataset(part: Part, roots: DataRoots) -> SegmentationDataset:
    """Open a dataset, once for all who ask for it; see :func:`open_anew`."""
    return open_anew(part, roots)


def open_anew(part: Part, roots: DataRoots) -> SegmentationDataset:
    """Open a dataset, making an embedded one on first use.

    Raises:
        BenchError: if its folder isn't there, with how to point at it.
    """
    root, name = roots.of(part), name_of(part.spec())
    if not part.cls.needs_root:
        part.cls.prepare(part.config, root, None)
    elif not root.is_dir():
        raise BenchError(
            f"dataset '{part.name}': there is no folder {root}; give it as --data {name}=DIR, "
            "or set BENCH_DATA to the folder that holds it"
        )
    dataset: SegmentationDataset = part.cls(part.config, root)
    return dataset


def roots_of(mapping: Mapping[str, str]) -> DataRoots:
    """Rebuild roots from what :func:`as_mapping` gave, in another process."""
    return DataRoots(tuple((name, Path(folder)) for name, folder in mapping.items()))


def as_mapping(roots: DataRoots, names: Sequence[str]) -> dict[str, str]:
    """Return the folders of the named datasets, absolute, for another process."""
    return {name: str(roots.root(name)) for name in names}
