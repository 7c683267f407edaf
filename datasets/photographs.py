"""Photographs from anywhere, found and read as those of datasets are: what a trained predictor is given."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError
from datasets.layout.decode import decode_rgb as decode_rgb
from datasets.layout.palette import voc_palette as voc_palette
from datasets.layout.places import images_in


def find(given: Path) -> dict[str, Path]:
    """Return images by the name, without suffix, that tells them apart: a file, or all of a folder at any depth.

    Raises:
        BenchError: if there is nothing, or two files of a folder differ in their suffix alone.
    """
    if given.is_file():
        return {given.stem: given}
    if not given.is_dir():
        raise BenchError(f"{given}: there is no such image or folder")
    found: dict[str, Path] = {}
    for path in images_in(given):
        name = path.relative_to(given).with_suffix("").as_posix()
        if name in found:
            raise BenchError(
                f"{path}: differs from {found[name].name} in its suffix alone; their masks would be one file"
            )
        found[name] = path
    if not found:
        raise BenchError(f"{given}: no images in this folder, at any depth")
    return found
