"""Small archives in the official layouts of VOC, SBD, SegmentationClassAug, Cityscapes, SUN RGB-D, ADE20K and COCO."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision.models._meta import _COCO_CATEGORIES

from bench.arrays import UInt8
from bench.seeds import rng
from datasets.layout.palette import voc_palette
from datasets.official.official import OfficialConfig
from datasets.voc import Voc

Files = dict[str, bytes]
HEIGHT, WIDTH = 20, 30

VOC_TRAIN = ("2007_000032", "2007_000039")
VOC_VAL = ("2007_000033", "2007_000042")
SBD_ONLY = ("2008_000002", "2008_000003", "2010_000001")
TRAIN_AUG = tuple(sorted((*VOC_TRAIN, *SBD_ONLY)))
VOC_JPEG = "VOCdevkit/VOC2012/JPEGImages"


def picture(name: str, height: int = HEIGHT, width: int = WIDTH) -> UInt8:
    """Return noise, (H, W, 3)."""
    return rng(0, "picture", name).integers(0, 256, (height, width, 3)).astype(np.uint8)


def values(name: str, choices: list[int], height: int = HEIGHT, width: int = WIDTH) -> UInt8:
    """Return a mask of 5x5 blocks of some values, (H, W)."""
    blocks = rng(0, "values", name).choice(choices, (height // 5, width // 5))
    return np.kron(blocks, np.ones((5, 5))).astype(np.uint8)


def encoded(array: UInt8, kind: str = "PNG", palette: bool = False) -> bytes:
    image = Image.fromarray(array)
    if palette:
        image.putpalette([channel for colour in voc_palette(256) for channel in colour])
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def voc_labels(name: str, source: str = "voc") -> UInt8:
    """Return a mask of VOC classes; VOC's own has a void border, the others (other values) have none."""
    mask = values(f"{source} {name}", list(range(21)))
    if source == "voc":
        mask[0] = 255
    return mask


def mat(labels: UInt8) -> bytes:
    """Return a file as SBD's: a struct GTcls with Boundaries, Segmentation and CategoriesPresent."""
    present = np.unique(labels[labels > 0]).astype(np.uint8)
    boundaries = np.empty((20, 1), dtype=object)
    for index in range(20):
        boundaries[index, 0] = (labels == index + 1).astype(np.uint8)
    file: Any = io.BytesIO()  # scipy's annotation knows paths only
    savemat(file, {"GTcls": {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": present}})
    return bytes(file.getvalue())


def lines(*ids: str) -> bytes:
    return "".join(f"{i}\n" for i in ids).encode()


def voc_files() -> Files:
    base = "VOCdevkit/VOC2012"
    files = {
        f"{base}/ImageSets/Segmentation/train.txt": lines(*VOC_TRAIN),
        f"{base}/ImageSets/Segmentation/val.txt": lines(*VOC_VAL),
        f"{base}/ImageSets/Segmentation/trainval.txt": lines(*VOC_TRAIN, *VOC_VAL),
        f"{base}/Annotations/2007_000032.xml": b"<annotation/>",
    }
    for name in (*VOC_TRAIN, *VOC_VAL, *SBD_ONLY):
        files[f"{VOC_JPEG}/{name}.jpg"] = encoded(picture(name), "JPEG")
    for name in (*VOC_TRAIN, *VOC_VAL):
        files[f"{base}/SegmentationClass/{name}.png"] = encoded(voc_labels(name), palette=True)
        files[f"{base}/SegmentationObject/{name}.png"] = encoded(voc_labels(name), palette=True)
    return files


def sbd_files() -> Files:
    """SBD has masks of some VOC val images, and its lists differ from VOC's."""
    base = "benchmark_RELEASE/dataset"
    ids = (VOC_TRAIN[0], VOC_VAL[0], *SBD_ONLY)
    files = {f"{base}/train.txt": lines(*ids[:3]), f"{base}/val.txt": lines(*ids[3:])}
    for name in ids:
        files[f"{base}/cls/{name}.mat"] = files[f"{base}/inst/{name}.mat"] = mat(voc_labels(name, "sbd"))
        files[f"{base}/img/{name}.jpg"] = encoded(picture(name), "JPEG")
    return files


def augmented_files(palette: bool = False) -> Files:
    ids = (*VOC_TRAIN, *VOC_VAL, *SBD_ONLY)
    files = {f"SegmentationClassAug/{i}.png": encoded(voc_labels(i, "aug"), palette=palette) for i in ids}
    return {**files, "__MACOSX/SegmentationClassAug/._2007_000032.png": b"junk"}


def voc_source(folder: Path, kind: str) -> Path:
    """Write VOC and the masks that `kind` names (sbd, aug, aug palette) as archives, or as trees; return the folder."""
    source, what = folder / "from", kind.split()
    extra: Files = sbd_files() if "sbd" in what else augmented_files("palette" in what) if "aug" in what else {}
    if "trees" in what:
        write_tree(source, {**voc_files(), **extra})
        return source
    write_tar(source / "VOCtrainval_11-May-2012.tar", voc_files())
    if "sbd" in what:
        write_tar(source / "benchmark.tgz", extra)
    elif extra:
        write_zip(source / "SegmentationClassAug.zip", extra)
    return source


def prepared_voc(root: Path, source: Path | None, config: OfficialConfig = OfficialConfig()) -> Voc:  # noqa: B008 - frozen
    Voc.prepare(config, root, source)
    return Voc(config, root)


def small_voc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small archives be the whole dataset."""
    monkeypatch.setattr(Voc, "published", {"train": len(TRAIN_AUG), "val": len(VOC_VAL)})
    monkeypatch.setattr(Voc, "checksums", {})


CITIES = {
    "train": (
        ("aachen", "aachen_000000_000019"),
        ("bochum", "bochum_000000_000313"),
        ("zurich", "zurich_000001_000019"),
    ),
    "val": (("munster", "munster_000000_000019"),),
}


def city_labels(name: str) -> UInt8:
    return values(f"city {name}", list(range(34)), 40, 80)


def cityscapes_files() -> tuple[Files, Files]:
    """Return the files of leftImg8bit_trainvaltest and of gtFine_trainvaltest."""
    images, masks = {"README": b"read me"}, {"README": b"read me", "license.txt": b"terms"}
    for split, pairs in CITIES.items():
        for city, name in pairs:
            images[f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png"] = encoded(picture(name, 40, 80))
            base = f"gtFine/{split}/{city}/{name}_gtFine"
            masks[f"{base}_labelIds.png"] = encoded(city_labels(name))
            masks[f"{base}_instanceIds.png"] = encoded(city_labels(name))
            masks[f"{base}_color.png"] = encoded(picture(name, 40, 80))
            masks[f"{base}_polygons.json"] = b"{}"
    images["leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png"] = encoded(picture("berlin", 40, 80))
    masks["gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png"] = encoded(city_labels("berlin"))
    return images, masks


def sun_labels(number: int) -> UInt8:
    return values(f"sun {number}", list(range(38)))


def sun_files(train: int = 4, test: int = 3, offset: int = 5050) -> tuple[Files, Files, Files]:
    """Return the files of the training images, the test images and the labels."""
    train_images = {
        f"SUNRGBD-train_images/img-{i:06d}.jpg": encoded(picture(f"train {i}"), "JPEG") for i in range(1, train + 1)
    }
    test_images = {
        f"SUNRGBD-test_images/img-{i:06d}.jpg": encoded(picture(f"test {i}"), "JPEG") for i in range(1, test + 1)
    }
    numbers = [*range(1, test + 1), *range(offset + 1, offset + train + 1)]
    return train_images, test_images, {f"img-{n:06d}.png": encoded(sun_labels(n)) for n in numbers}


ADE = {
    "train": ("ADE_train_00000001", "ADE_train_00000007", "ADE_train_00020210"),
    "val": ("ADE_val_00000001", "ADE_val_00000002"),
}


def ade_labels(name: str) -> UInt8:
    """Return a mask of 0 ("other") to 150, (H, W)."""
    return values(f"ade {name}", list(range(151)))


def ade_files() -> Files:
    base, files = "ADEChallengeData2016", dict[str, bytes]()
    for split, folder in (("train", "training"), ("val", "validation")):
        for name in ADE[split]:
            files[f"{base}/images/{folder}/{name}.jpg"] = encoded(picture(name), "JPEG")
            files[f"{base}/annotations/{folder}/{name}.png"] = encoded(ade_labels(name))
    return {**files, f"{base}/objectInfo150.txt": b"Idx\tRatio\tTrain\tVal\tName\n", f"{base}/sceneCategories.txt": b""}


COCO = {
    "train": ("000000000009", "000000000025", "000000000030", "000000581921"),
    "val": ("000000000139", "000000000285"),
}
COCO_UNLABELLED = ("000000000008", "000000000013")
# Of torchvision's 91 names, with N/A where there is no category.
COCO_NAMES = {i: name for i, name in enumerate(_COCO_CATEGORIES) if i and name != "N/A"}


def coco_json(split: str) -> dict[str, Any]:
    """Return instance annotations in the official format: boxes and triangles that overlap; the last image has none."""
    draw, annotations = rng(0, "coco", split), list[dict[str, Any]]()
    for number in range(8 * (len(COCO[split]) - 1)):
        image_id = int(COCO[split][draw.integers(len(COCO[split]) - 1)])
        x, y, w, h = (int(draw.integers(*bounds)) for bounds in ((0, 20), (0, 12), (3, 12), (3, 9)))
        shape: Any = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        if number % 3 == 0:
            shape.append([x + 0.5, y + 0.25, x + w + 5.5, y + 1.75, x + 1.25, y + h + 3.5])
        crowd = number % 8 == 7
        if crowd:
            before, length = x * HEIGHT + y, 3 * HEIGHT
            shape = {"size": [HEIGHT, WIDTH], "counts": [before, length, HEIGHT * WIDTH - before - length]}
        annotation = {"segmentation": shape, "iscrowd": int(crowd), "image_id": image_id, "id": 900 - number}
        annotations.append({**annotation, "category_id": int(draw.choice(list(COCO_NAMES))), "bbox": [x, y, w, h]})
    images = [{"file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH, "id": int(i)} for i in reversed(COCO[split])]
    categories = [{"supercategory": "thing", "id": i, "name": name} for i, name in COCO_NAMES.items()]
    parts = {"info": {"year": 2017}, "licenses": [{"id": 1}], "images": images, "annotations": annotations}
    return {**parts, "categories": categories}


def coco_source(source: Path, unlabelled: bool = False) -> Path:
    """Write COCO's archives; return the folder."""
    for split, ids in COCO.items():
        files = {f"{split}2017/{i}.jpg": encoded(picture(i), "JPEG") for i in ids}
        write_zip(source / f"{split}2017.zip", files)
    texts = {f"annotations/instances_{split}2017.json": json.dumps(coco_json(split)).encode() for split in COCO}
    other = {"annotations/captions_val2017.json": b"{}"}
    write_zip(source / "annotations_trainval2017.zip", {**texts, **other})
    if unlabelled:
        extra = {f"unlabeled2017/{i}.jpg": encoded(picture(i), "JPEG") for i in COCO_UNLABELLED}
        write_zip(source / "unlabeled2017.zip", extra)
    return source


def write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix in (".tgz", ".gz") else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return time of change and content of every file, hidden ones included."""
    return {
        p.relative_to(folder).as_posix(): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
