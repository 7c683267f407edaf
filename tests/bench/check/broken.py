"""A plug-in of methods, networks, augmentations and datasets, each of which breaks one thing that `check` looks at."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn

from bench.arrays import UInt8
from bench.registry import get, register
from datasets.augmentation.unimatch import UniMatchAugmentation
from datasets.base import SplitName
from methods.base import Batch, Build
from methods.networks.deeplabv3plus import DeepLabV3Plus, DeepLabV3PlusConfig
from methods.student import StudentMethod
from methods.supervised import SupervisedConfig


class _Supervised(StudentMethod):
    Config = SupervisedConfig
    uses_unlabelled = False


@register("method", "no_scalar")
class NoScalar(_Supervised):
    """gives losses"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.student(batch.labelled.image)}


@register("method", "logs_maps")
class LogsMaps(_Supervised):
    """gives losses"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        self.log("share", batch.labelled.label)
        return super().losses(batch)


@register("method", "draws_from_torch")
class DrawsFromTorch(_Supervised):
    """draws from seeds"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {name: loss * (1 + torch.rand(()) / 1000) for name, loss in super().losses(batch).items()}


@register("method", "nan_gradient")
class NanGradient(_Supervised):
    """gives losses"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        found = super().losses(batch)
        return {**found, "root": (found["supervised"] * 0).sqrt()}


@register("method", "no_predictor")
class NoPredictor(_Supervised):
    """learns, predicts"""

    @property
    def predictor(self) -> nn.Module:
        return nn.Flatten()


@register("method", "climbs")
class Climbs(_Supervised):
    """learns"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {name: -loss for name, loss in super().losses(batch).items()}


@register("method", "counts")
class Counts(_Supervised):
    """keeps its state, resumes, resumes in bf16"""

    def __init__(self, config: SupervisedConfig, build: Build) -> None:
        super().__init__(config, build)
        self.seen = 0

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        self.seen += 1
        return {name: loss * self.seen**-0.01 for name, loss in super().losses(batch).items()}


@register("method", "draws")
class Draws(_Supervised):
    """draws from seeds, keeps its state, trains in bf16, resumes, resumes in bf16"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {name: loss * (1 + random.random()) for name, loss in super().losses(batch).items()}


@register("method", "numpy_at_birth")
class NumpyAtBirth(_Supervised):
    """builds"""

    def __init__(self, config: SupervisedConfig, build: Build) -> None:
        super().__init__(config, build)
        self.offset = nn.Parameter(torch.tensor(np.random.rand()))


@register("method", "rounds")
class Rounds(_Supervised):
    """trains in bf16"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        dtype = self.student(batch.labelled.image).dtype
        return {name: loss.to(dtype) for name, loss in super().losses(batch).items()}


@register("method", "waits")
class Waits(_Supervised):
    """never waits"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        found = super().losses(batch)
        return {name: loss * (1.0 if loss.item() > 0 else 2.0) for name, loss in found.items()}


@register("method", "four_images")
class FourImages(_Supervised):
    """accumulates"""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        assert len(batch.labelled.image) == 4, "four images, please"
        return super().losses(batch)


class _Net(DeepLabV3Plus):
    Config = DeepLabV3PlusConfig


@register("network", "wide")
class Wide(_Net):
    """has features"""

    def __init__(self, config: DeepLabV3PlusConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.feature_channels = 7


@register("network", "batchwise")
class Batchwise(_Net):
    """keeps images apart"""

    def classify(self, features: Tensor) -> Tensor:
        return super().classify(features - features.mean(0, keepdim=True))


@register("network", "spare")
class Spare(_Net):
    """gradients reach all weights"""

    def __init__(self, config: DeepLabV3PlusConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.spare = nn.Linear(2, 2)


@register("network", "attribute")
class Attribute(_Net):
    """keeps its state"""

    def __init__(self, config: DeepLabV3PlusConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.bias = torch.rand(num_classes, 1, 1)

    def classify(self, features: Tensor) -> Tensor:
        return super().classify(features) + self.bias


@register("network", "square")
class Square(_Net):
    """gives scores"""

    def features(self, image: Tensor) -> Tensor:
        assert image.shape[2] == image.shape[3], "square images only"
        return super().features(image)


@register("network", "upside_down")
class UpsideDown(_Net):
    """can be perturbed"""

    def decode(self, maps: list[Tensor]) -> Tensor:
        return super().decode(maps).flip(2)

    def features(self, image: Tensor) -> Tensor:
        return super().decode(self.encode(image))


@register("augmentation", "mask_stays")
class MaskStays(UniMatchAugmentation):
    """makes labelled views"""

    def labelled_view(self, image: UInt8, mask: UInt8, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
        view, label = super().labelled_view(image, mask, rng)
        return np.ascontiguousarray(view[:, ::-1]), label


@register("augmentation", "other_draw")
class OtherDraw(UniMatchAugmentation):
    """makes weak views"""

    def weak_mask(self, mask: UInt8, rng: np.random.Generator) -> UInt8:
        rng.random()
        return super().weak_mask(mask, rng)


@register("augmentation", "bright")
class Bright(UniMatchAugmentation):
    """finishes"""

    @staticmethod
    def to_float(image: Tensor) -> Tensor:
        return image.float()


@register("augmentation", "own_seed")
class OwnSeed(UniMatchAugmentation):
    """follows from its generators"""

    def labelled_view(self, image: UInt8, mask: UInt8, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
        return super().labelled_view(image, mask, np.random.default_rng())


class _Data(get("dataset", "toy")):  # type: ignore[misc]
    pass


@register("dataset", "shuffled")
class Shuffled(_Data):
    """lists its images"""

    def ids(self, split: SplitName) -> tuple[str, ...]:
        found = list(super().ids(split))
        np.random.default_rng().shuffle(found)
        return tuple(found)


@register("dataset", "leaks")
class Leaks(_Data):
    """lists its images"""

    def ids(self, split: SplitName) -> tuple[str, ...]:
        found: tuple[str, ...] = super().ids("train" if split == "val" else split)
        return found


@register("dataset", "beyond")
class Beyond(_Data):
    """decodes"""

    def mask(self, image_id: str) -> UInt8:
        mask: UInt8 = super().mask(image_id) + np.uint8(1)
        return mask


@register("dataset", "noisy")
class Noisy(_Data):
    """reads alike"""

    def image(self, image_id: str) -> UInt8:
        found: UInt8 = super().image(image_id).copy()
        found ^= (np.random.default_rng().random(found.shape) < 0.5).astype(np.uint8)
        return found


@register("dataset", "grey")
class Grey(_Data):
    """names its classes"""

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        return [(0, 0, 0)]
