"""The contract of a method: it holds networks and turns a batch into named losses. The training loop does the rest.

The loop (``bench.train``) is responsible for backward, precision, clipping, schedule, optimizer, checkpoint and resume.
All of a method's state is in its ``state_dict()``. No hook is given a score, nor anything that leads to one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import bench.config
from bench.arrays import IMAGENET_MEAN as IMAGENET_MEAN
from bench.arrays import IMAGENET_STD as IMAGENET_STD
from bench.transfer import to_device

Extents = NDArray[np.int64]  # (B, 4): first row, first column, and before which row and column it ends


class StrongAugment(Protocol):
    """The strong augmentation of one step's unlabelled images, in the two halves between which images are mixed.

    Both halves keep shapes and are pure functions of (data seed, step, slot). Images (B, 3, H, W) in [0, 1]; maps
    (B, H, W) of any type, as many as the method has: pseudo-labels, their confidence, or none.
    """

    def geometric(self, image: Tensor, *maps: tuple[Tensor, float]) -> tuple[Tensor, ...]:
        """Random scale and crop: the image bilinear (border reflected), then each (map, border value) nearest."""

    def photometric(self, image: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        """Colour jitter and Gaussian blur of the image, horizontal flip of the image and the maps."""

    def warp(self, maps: Tensor) -> Tensor:
        """Move maps (B, C, H, W) from the weak view's frame to the strong view's: this step's geometric half and flip.

        Bilinear, 0 where the strong view shows nothing of the weak one. For soft targets of unmixed images.
        """


@dataclass(frozen=True)
class Labelled:
    """Labelled images after augmentation.

    Attributes:
        image: (B, 3, H, W) in [0, 1].
        label: (B, H, W) int64, 255 = ignore.
        partial: whether only a part of the pixels has labels (the protocol `partial`).
    """

    image: Tensor
    label: Tensor
    partial: bool = False


@dataclass(frozen=True)
class Unlabelled:
    """Unlabelled images. There is no label here: the loader never reads the masks of unlabelled images.

    Under the protocol `partial`, where every image is labelled in part, `visible_labels` holds that part.

    Attributes:
        weak: the weak view, (B, 3, H, W) in [0, 1], a crop as the recipe's augmentation makes it; where it reached beyond
            the image it is filled.
        strong_views: the strong augmentations to apply to the weak view and to maps that belong to it, as many as the
            method's ``strong_views``, drawn independently.
        visible_labels: (B, H, W) int64, the labels that are visible in the weak view, 255 elsewhere; None where the images
            have none.
        extents: what of the weak view shows the image, on the host; None is all of it (see :meth:`inside`).
        partner: a second batch of as many unlabelled images, drawn independently, to mix with; None for methods with
            ``partner_batch = False``.
    """

    weak: Tensor
    strong_views: tuple[StrongAugment, ...]
    visible_labels: Tensor | None = None
    extents: Extents | None = None
    partner: Unlabelled | None = None

    @property
    def strong(self) -> StrongAugment:
        """The strong augmentation of a method with one."""
        (view,) = self.strong_views
        return view

    def inside(self) -> Tensor:
        """Return where the weak view shows the image rather than what fills it, (B, H, W) bool."""
        size = self.weak.shape[0], *self.weak.shape[2:]
        if self.extents is None:
            return torch.ones(size, dtype=torch.bool, device=self.weak.device)
        return rectangles(self.extents, size[1], size[2], self.weak.device)


def rectangles(corners: Extents, height: int, width: int, device: torch.device) -> Tensor:
    """Return (B, height, width) bool: True within rectangles (B, 4) of first row, first column and the ends of both."""
    box = to_device(np.ascontiguousarray(corners), device)
    top, left, bottom, right = (box[:, i, None] for i in range(4))
    y = torch.arange(height, device=device)
    x = torch.arange(width, device=device)
    rows = (y >= top) & (y < bottom)
    columns = (x >= left) & (x < right)
    return rows[:, :, None] & columns[:, None, :]


@dataclass(frozen=True)
class Batch:
    """One (micro-)batch.

    Attributes:
        step: optimizer steps done before this one, from 0.
        iterations: optimizer steps of the whole run (for ramp-ups).
        seed: a seed that belongs to this (micro-)batch alone; every random draw of the method derives from it
            (``bench.seeds.rng(batch.seed, purpose, slot)``), never from a global generator.
        unlabelled: None for methods with ``uses_unlabelled = False``.
    """

    step: int
    iterations: int
    seed: int
    labelled: Labelled
    unlabelled: Unlabelled | None


class Network(Protocol):
    """The contract of a segmentation network (see ``methods/networks``).

    Several processes that train one cell divide the images among them that these, and ``forward``, are given. A network with
    further methods for them names these in a class attribute: ``batch_dimensions = {"regions": (1, 1, 0)}`` says in which
    dimension of each tensor that they return the images are.
    """

    num_classes: int
    feature_channels: int

    def features(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] to decoder features (B, feature_channels, H/4, W/4): ``decode(encode(image))``."""

    def encode(self, image: Tensor) -> list[Tensor]:
        """Image (B, 3, H, W) in [0, 1] to the feature maps (B, C, h, w) that the decoder takes, largest first."""

    def decode(self, maps: list[Tensor]) -> Tensor:
        """Feature maps as ``encode`` gives them, perturbed perhaps, to decoder features."""

    def classify(self, features: Tensor) -> Tensor:
        """Decoder features to class scores (logits), (B, num_classes, H/4, W/4)."""


@dataclass(frozen=True)
class Ohem:
    """Online hard example mining, of the supervised loss: see ``bench.spec.loss.Loss``.

    Attributes:
        threshold: pixels whose class has a probability of at most this count.
        kept: as many pixels count at least, those whose class has the least.
    """

    threshold: float
    kept: int


@dataclass(frozen=True)
class Build:
    """What a method needs to build its networks.

    Attributes:
        num_classes: K.
        make_network: returns a new network of the cell's recipe, freshly initialised; successive calls give differently
            initialised networks, the first call always the same one.
        seed: init seed for further modules of the method.
        ohem: how the recipe wants the cross-entropy on labelled pixels; None is the mean of them all.
    """

    num_classes: int
    make_network: Callable[[], nn.Module]
    seed: int
    ohem: Ohem | None = None


class Method(nn.Module):
    """Base class of methods. Subclasses register with ``@register("method", NAME)``.

    Attributes:
        Config: the hyperparameters, validated; unknown keys are errors.
        version: raise it when a change of the code changes results, so that earlier runs show as stale.
        uses_unlabelled: False lets the loader skip unlabelled images.
        strong_views: how many strong augmentations of the unlabelled images are drawn.
        partner_batch: True gives each batch of unlabelled images another one to mix with. Like the two before it, an
            instance may set it by its config.
        has_cross_entropy: whether the method's loss on labelled pixels is the cross-entropy that ``Build.ohem`` alters.
        network: name of the registered network that the method needs. It replaces a recipe's other network, with those
            of that one's options that both have (the backbone and its weights); None takes the recipe's as it is.
    """

    Config: ClassVar[type[bench.config.Config]] = bench.config.Config
    version: ClassVar[int] = 1
    uses_unlabelled: bool = True
    strong_views: int = 1
    partner_batch: bool = False
    has_cross_entropy: ClassVar[bool] = True

    @staticmethod
    def labelled_batch_factor(config: bench.config.Config) -> int:
        """Return the factor on the recipe's labelled batch size (the authors' supervised runs double it)."""
        return 1

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a class override :attr:`predictor` or :attr:`predictors` alone, whatever its base class has of the other."""
        super().__init_subclass__(**options)
        own = vars(cls).keys() & {"predictor", "predictors"}
        if own == {"predictor"}:
            cls.predictors = Method.predictors  # type: ignore[method-assign]
        elif own == {"predictors"}:
            cls.predictor = Method.predictor  # type: ignore[method-assign]

    def __init__(self) -> None:
        super().__init__()
        self.logged: dict[str, Tensor] = {}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named, weighted loss terms (scalars); the loop minimises their sum."""
        raise NotImplementedError

    def log(self, name: str, value: Tensor) -> None:
        """Note a scalar of this batch that is no loss: a share of pixels, a threshold. To be called by :meth:`losses`.

        The means over the steps between two log lines go into metrics.jsonl, and ``plot convergence --of NAME`` draws them.
        The value stays on the device, so that nothing waits for it. It is never added to the loss.
        """
        self.logged[name] = value.detach().float() if isinstance(value, Tensor) else value  # the loop refuses others

    def take_logged(self) -> dict[str, Tensor]:
        """Return what this method, and any within it, logged since the last call."""
        found: dict[str, Tensor] = {}
        for module in self.modules():
            if isinstance(module, Method):
                found |= module.logged
                module.logged = {}
        return found

    def after_step(self, step: int) -> None:
        """Called after each optimizer step (EMA updates go here); `step` counts the steps done before it, from 0."""

    @property
    def predictor(self) -> nn.Module:
        """The module that predicts: image (B, 3, H, W) in [0, 1] to class scores (B, K, h, w), h and w at most H and W.

        The evaluator resizes scores to the mask's size (bilinear, aligned corners). It is also what is exported. A method
        overrides this, or :attr:`predictors` where it has several.
        """
        if type(self).predictors is Method.predictors:
            raise NotImplementedError
        return next(iter(self.predictors.values()))

    @property
    def predictors(self) -> dict[str, nn.Module]:
        """All that can predict, by name; the first is :attr:`predictor`.

        ``evaluation.predictors: all`` scores each of them.
        """
        return {"network": self.predictor}
