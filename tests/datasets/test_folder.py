"""Your own images: VOC layout by default, or folders as configured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bench import registry
from datasets.folder import Folder, FolderConfig
from datasets.layout.voc_layout import Layout
from tests.datasets.made import CLASSES, labels, make_voc, picture


def test_voc_layout_by_default(tmp_path: Path) -> None:
    dataset = Folder(FolderConfig(), make_voc(tmp_path))
    assert dataset.check().problems == []
    assert dataset.classes == CLASSES
    assert dataset.few_labels_min_classes == 1


def test_two_folders(tmp_path: Path) -> None:
    make_voc(tmp_path, layout=Layout("photos/all", "annotation", ".", "names.txt"))
    config = FolderConfig(images="photos/all", masks="annotation", lists=".", classes_file="names.txt", min_classes=2)
    dataset = Folder(config, tmp_path)
    assert dataset.check().problems == []
    assert np.array_equal(dataset.image("a"), picture("a")) and np.array_equal(dataset.mask("a"), labels("a"))
    assert dataset.few_labels_min_classes == 2


@pytest.mark.parametrize("key", ["images", "masks", "lists", "classes_file"])
@pytest.mark.parametrize("path", ["../other", "/data"])
def test_paths_stay_inside(key: str, path: str) -> None:
    with pytest.raises(ValidationError, match="within the dataset's folder"):
        FolderConfig.model_validate({key: path})


def test_what_identifies_it() -> None:
    """Other masks are another dataset; the name that you give tells two folders apart."""
    ids = [FolderConfig(), FolderConfig(masks="SegmentationClassAug"), FolderConfig(title="mine")]
    assert len({str(config.identity()) for config in ids}) == 3
    assert registry.get("dataset", "folder") is Folder
