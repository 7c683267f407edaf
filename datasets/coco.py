"""COCO 2017 as the field has it: background and 80 things, drawn from the instance annotations."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from PIL import Image
from pydantic import Field

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from bench.registry import register
from datasets.base import DatasetConfig, SplitName
from datasets.layout.decode import load_index_mask
from datasets.official.archives import Member, Sources
from datasets.official.instances import Instances, draw, mask_drawing
from datasets.official.official import OfficialConfig, OfficialDataset
from datasets.official.prepare import Pair, Preparation, Record

# In the order of the category ids, of which ten between 1 and 90 have no category.
THINGS = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard"),
    *("cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors"),
    *("teddy bear", "hair drier", "toothbrush"),
)
CLASSES = ("background", *THINGS)
_NO_CATEGORY = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in _NO_CATEGORY)
_CLASS_OF = {category: index for index, category in enumerate(CATEGORY_IDS, 1)}
_UNIMATCH = r"(?:.*/)?(?:masks|ground_truth_coco)/(?:.*/)?(\d{12})\.png"
_MASKS = {"instances": "the 2017 instance annotations, later ones over earlier ones", "unimatch": "UniMatch's masks"}


class CocoConfig(OfficialConfig):
    """Options of `coco`.

    Attributes:
        masks: ``instances``, drawn here from the annotations; or ``unimatch``, the masks that UniMatch's authors offer for
            download, where the sources hold them (a folder or an archive ``masks``, or ``ground_truth_coco.zip`` of SemiVL's
            and PrevMatch's releases).
        unlabelled: ``unlabeled2017``: its 123,403 images are prepared too, as unlabelled ones.
    """

    masks: Annotated[Literal["instances", "unimatch"], Field(json_schema_extra={"identity": "non-default"})] = (
        "instances"
    )
    unlabelled: Annotated[Literal["unlabeled2017"] | None, Field(json_schema_extra={"identity": "non-default"})] = None


@register("dataset", "coco")
class Coco(OfficialDataset):
    """COCO 2017, 81 classes: 118,287 training images, 5,000 validation images. An id is the image's number, 12 digits.

    Class 0 is whatever no annotation covers, images without any included, and counts in the mean as the others do; the 80
    things are 1 to 80 in the order of their category ids, as in UniMatch's code. Crowds are drawn like single objects.

    Where annotations overlap, the later one of the file lies over the earlier one. That is this project's choice. The masks
    of the field come from two downloads, PseudoSeg's tfrecords and UniMatch's PNG files (which AllSpark, CorrMatch,
    PrevMatch and SemiVL train on too); neither repository holds the code that drew them, so which annotation wins there,
    and what they do with crowds, isn't known. Public tools differ: COCO-Stuff's draws later ones over earlier ones,
    PyTorch-Encoding's the other way round, torchvision's reference code makes overlaps void and leaves crowds out. To
    train on exactly UniMatch's masks, give them: ``masks: unimatch``.
    """

    Config: ClassVar[type[DatasetConfig]] = CocoConfig
    published: ClassVar[dict[SplitName, int]] = {"train": 118_287, "val": 5_000}
    published_unlabelled: ClassVar[dict[str, int]] = {"unlabeled2017": 123_403}
    archives: ClassVar[tuple[str, ...]] = (
        *("train2017", "val2017", "unlabeled2017", "annotations_trainval2017"),
        *("masks", "ground_truth_coco"),
    )
    checksums: ClassVar[dict[str, str]] = {
        "train2017.zip": "cced6f7f71b7629ddf16f17bbcfab6b2",
        "val2017.zip": "442b8da7639aecaf257c1dceb8ba8c80",
        "unlabeled2017.zip": "7ebc562819fdb32847aab79530457326",
        "annotations_trainval2017.zip": "f4bbac642086de4f52a3fdda2de5fa2c",
    }
    wanted: ClassVar[str] = "train2017.zip, val2017.zip and annotations_trainval2017.zip, or their trees"
    label_map: ClassVar[dict[int, int]] = {**{i: i for i in range(len(CLASSES))}, IGNORE_INDEX: IGNORE_INDEX}
    void_colour: ClassVar[tuple[int, int, int]] = (224, 224, 192)
    config: CocoConfig

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Background and the 80 things."""
        return CLASSES

    @property
    def few_labels_min_classes(self) -> int:
        """4, this project's choice: the COCO paper counts 3.5 categories in an image on average; background is one more."""
        return 4

    def preparation(self, sources: Sources) -> Preparation:
        """Pair images with their masks, or with the annotations that these are drawn from.

        Raises:
            BenchError: if pycocotools isn't there, or the annotations are damaged or of other categories.
        """
        splits: dict[SplitName, list[Pair]] = {}
        given = (
            sources.find(r"(?:.*/)?(?:masks|ground_truth_coco)/(?:.*/)?(\d{12})\.png")
            if self.config.masks == "unimatch"
            else {}
        )
        for split in self.published:
            images = sources.find(rf"(?:.*/)?{split}2017/(\d{{12}})\.jpg")
            if self.config.masks == "unimatch":
                masks = {i: given[i] for i in images if i in given}
            else:
                masks = self._annotations(sources, split)
            splits[split] = [Pair(i, images.get(i), masks.get(i)) for i in sorted(images.keys() | masks.keys())]
        extra = sources.find(r"(?:.*/)?unlabeled2017/(\d{12})\.jpg")
        return Preparation(_MASKS[self.config.masks], splits, unlabelled=dict(sorted(extra.items())))

    @staticmethod
    def _annotations(sources: Sources, split: SplitName) -> dict[str, Member]:
        """Return the annotations of each image of a split; none where the sources hold no file of them."""
        mask_drawing()  # its absence is told before minutes are spent
        found = sources.find(rf"(?:.*/)?(instances_{split}2017)\.json")
        if not found:
            return {}
        instances = Instances(found[f"instances_{split}2017"])
        if instances.categories != dict(zip(CATEGORY_IDS, THINGS, strict=True)):
            raise BenchError(f"{instances.path}: its categories aren't the 80 of COCO 2017; get the official file")
        return instances.by_stem()

    @classmethod
    def decode_labels(cls, where: Path, data: bytes) -> Image.Image:
        """Return a mask's values: UniMatch's PNG, or what an image's annotations draw.

        Raises:
            BenchError: if the PNG is damaged or an annotation can't be drawn.
        """
        return load_index_mask(where, data) if where.suffix == ".png" else Image.fromarray(draw(where, data, _CLASS_OF))

    def _check_use(self, record: Record) -> None:
        super()._check_use(record)
        if record.masks != _MASKS[self.config.masks]:
            raise BenchError(
                f"{self.root}: prepared with {record.masks}, but masks: {self.config.masks} is asked for; set the same, or "
                "prepare another folder"
            )
