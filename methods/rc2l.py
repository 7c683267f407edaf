"""RC²L: region-level contrastive and consistency learning between a student and a moving-average teacher.

Source: the abstract and the figure captions of Zhang, Wu, Ding, Zhao and Guo, "Region-level Contrastive and Consistency
Learning for Semi-Supervised Semantic Segmentation" (RC²L), IJCAI 2022, pp. 1622-1628, arXiv 2204.13314. Teacher and
student are mask-classification networks; the teacher's confident regions on the weak view are targets for the student's
regions on the strong view. Every constant of :class:`RC2LConfig` that isn't said to be someone else's is this project's
choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench.phases import phase
from bench.registry import register
from bench.resize import bilinear
from bench.seeds import rng
from methods.base import Batch, Build, Method, Unlabelled
from methods.ema import Ema
from methods.losses import rc2l
from methods.losses.mask_classification import (
    Targets,
    Weights,
    class_loss,
    class_targets,
    mask_losses,
    pairwise_cost,
    shrink,
)
from methods.losses.matching import Matching, match
from methods.mixing import box_mask, class_mask
from methods.networks.mask_classifier import MaskClassifier, Masks, semantic_scores
from methods.predictors import headline_first
from methods.teacher import OnlyExact, TeacherConfig, with_visible_labels


class RC2LConfig(TeacherConfig):
    """Hyperparameters of RC²L. The public text gives none of them.

    ``unsupervised_weight`` is a factor on all four region losses; each has its own weight as well, and 0 switches it
    off alone.

    Attributes:
        class_weight: of the class term in the matching's cost and in the supervised loss; MaskFormer has 1, 4 is
            this project's choice (training from scratch is slowest at naming the regions).
        focal_weight: of the focal term; MaskFormer has 20.
        dice_weight: of the dice term; MaskFormer has 1, 4 is this project's choice.
        no_object_weight: of regions without a target in the class loss; MaskFormer has 0.1.
        rmc_weight: of the region mask contrast (project's choice).
        rfc_weight: of the region feature contrast (project's choice).
        rcc_weight: of the region class consistency (project's choice).
        smc_weight: of the semantic mask consistency (project's choice).
        mask_temperature: of the region mask contrast (project's choice).
        feature_temperature: of the region feature contrast (project's choice).
        max_regions: N_t, the teacher's most confident regions that are used per image, at most (project's choice).
        min_confidence: a teacher region is used if its class probability times the mean mask probability inside its
            mask is at least this (project's choice).
        min_area: and if its mask covers at least this share of the image, in both views (project's choice).
        mix: of the unlabelled images after the strong augmentation, so that the warped regions are cut exactly as the
            images are: `classmix` by the classes that the teacher predicts, or `cutmix` (project's choice).
    """

    # This project's choice, around the published values; the papers report no search of them.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "rmc_weight": {"log_uniform": [0.01, 1.0]},
        "rfc_weight": {"log_uniform": [0.01, 1.0]},
        "rcc_weight": {"log_uniform": [0.1, 10.0]},
        "smc_weight": {"log_uniform": [0.1, 10.0]},
    }

    class_weight: float = Field(default=4.0, ge=0)
    focal_weight: float = Field(default=20.0, ge=0)
    dice_weight: float = Field(default=4.0, ge=0)
    no_object_weight: float = Field(default=0.1, ge=0)
    rmc_weight: float = Field(default=0.1, ge=0)
    rfc_weight: float = Field(default=0.1, ge=0)
    rcc_weight: float = Field(default=1.0, ge=0)
    smc_weight: float = Field(default=1.0, ge=0)
    mask_temperature: float = Field(default=0.1, gt=0)
    feature_temperature: float = Field(default=0.1, gt=0)
    max_regions: int = Field(default=16, ge=1)
    min_confidence: float = Field(default=0.7, ge=0, le=1)
    min_area: float = Field(default=0.002, ge=0, le=1)
    mix: Literal["none", "cutmix", "classmix"] = "none"
    confidence: OnlyExact = "exact"
    predict_with: Literal["teacher", "student"] = "teacher"  # scores of regions have no mean of probabilities


class TeacherOutput(NamedTuple):
    """The teacher's targets for the student on unlabelled images; none of it takes gradient.

    Attributes:
        image: the strong view, (B, 3, H, W) in [0, 1].
        targets: the teacher's confident regions in the strong view's frame.
        features: of these regions, pooled on the weak view, (B, T, C).
        semantic: the teacher's per-pixel scores in the strong view's frame, (B, K, h, w).
    """

    image: Tensor
    targets: Targets
    features: Tensor
    semantic: Tensor


def confident_regions(found: Masks, config: RC2LConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return the class (B, T), the binary mask (B, T, h, w) and the presence (B, T) of the most confident regions.

    T is `max_regions`, or the number of queries where that is less; regions that aren't good enough are absent.
    """
    probability, mask = found.classes[-1].float().softmax(2), found.masks[-1].float().sigmoid()
    score, label = probability.max(2)
    binary = (mask >= 0.5).float()
    area = binary.mean((2, 3))
    confidence = score * (mask * binary).mean((2, 3)) / area.clamp(min=1e-6)
    good = (label < probability.shape[2] - 1) & (confidence >= config.min_confidence)
    good &= (area > 0) & (area >= config.min_area)
    order = torch.where(good, confidence, -1).sort(dim=1, descending=True, stable=True).indices
    order = order[:, : config.max_regions]
    masks = binary.gather(1, order[:, :, None, None].expand(-1, -1, *binary.shape[2:]))
    # "No object" is no valid label; such regions are absent, so any class will do.
    return label.gather(1, order).clamp(max=probability.shape[2] - 2), masks, good.gather(1, order)


@register("method", "rc2l")
class RC2L(Method):
    """Contrast and consistency between the regions of a student and of a moving-average teacher."""

    Config = RC2LConfig
    network: ClassVar[str | None] = "mask_classifier"
    has_cross_entropy: ClassVar[bool] = False

    def __init__(self, config: RC2LConfig, build: Build) -> None:
        super().__init__()
        self.config, self.num_classes = config, build.num_classes
        self.weights = Weights(config.class_weight, config.focal_weight, config.dice_weight)
        self.student = build.make_network()
        self.teacher = Ema(self.student, config.ema_decay, config.teacher_buffers)

    # -- the teacher ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def teacher_output(self, batch: Batch) -> TeacherOutput:
        """Run the teacher on the weak view, and move its regions to where the strong view shows them."""
        unlabelled = batch.unlabelled
        assert unlabelled is not None, "the loader gives unlabelled images where uses_unlabelled is True"
        with phase("teacher"):
            with torch.inference_mode():
                found = _regions(self.teacher.model, unlabelled.weak)
            label, masks, good = confident_regions(found, self.config)
            semantic = _label_cells(semantic_scores(found.classes[-1], found.masks[-1]), unlabelled.visible_labels)
            with torch.autocast(masks.device.type, enabled=False):
                features = rc2l.region_features(found.pixels.float(), masks)
        with phase("augment"):
            image, (moved, weight) = _to_strong(unlabelled, torch.cat((masks, semantic), 1))
            masks, semantic = moved[:, : label.shape[1]], moved[:, label.shape[1] :]
            from_teacher = TeacherOutput(image, Targets(label, masks, good, weight), features, semantic)
            if self.config.mix != "none" and len(image) > 1:
                from_teacher = _mixed(from_teacher, self._keep(from_teacher, batch.seed))
            return _without_small(from_teacher, self.config.min_area)

    def _keep(self, from_teacher: TeacherOutput, seed: int) -> Tensor:
        """Return which pixels stay in a mixed image, (B, H, W) bool; the others come from the next image."""
        draw, size = rng(seed, "mix"), from_teacher.image.shape[2:]
        if self.config.mix == "cutmix":
            return ~box_mask("half", len(from_teacher.image), size[0], size[1], draw, from_teacher.image.device)
        keep = class_mask(from_teacher.semantic.argmax(1), draw)
        return F.interpolate(keep[:, None].float(), size=size)[:, 0] > 0

    # -- the student ---------------------------------------------------------------------------------------------

    def forward_student(self, labelled: Tensor, strong: Tensor) -> tuple[Masks, Masks]:
        """Return the student's regions on the labelled images and on the strong view of the unlabelled ones."""
        with phase("student"):
            if not self.config.joint_forward:
                return _regions(self.student, labelled), _regions(self.student, strong)
            both = _regions(self.student, torch.cat((labelled, strong)))
            return both.of_images(slice(len(labelled))), both.of_images(slice(len(labelled), None))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the supervised losses and the four region losses.

        Matching needs the costs on the host: one transfer there and one back per batch.
        """
        from_teacher = self.teacher_output(batch)
        labelled, unlabelled = self.forward_student(batch.labelled.image, from_teacher.image)
        layers, size = len(labelled.classes), (labelled.masks.shape[3], labelled.masks.shape[4])
        classes, masks = labelled.classes.flatten(0, 1), labelled.masks.flatten(0, 1)
        with phase("loss matching"):
            targets = class_targets(batch.labelled.label, self.num_classes, size).repeat(layers)
            costs = (
                pairwise_cost(classes, masks, targets, self.weights),
                pairwise_cost(unlabelled.classes[-1], unlabelled.masks[-1], from_teacher.targets, self.weights),
            )
            of_labelled, of_unlabelled = match(costs)
        with phase("loss supervised"):
            supervised = self._supervised(classes, masks, targets, of_labelled)
        return {**supervised, **self._regional(unlabelled, from_teacher, of_unlabelled)}

    def _supervised(self, classes: Tensor, masks: Tensor, targets: Targets, matching: Matching) -> dict[str, Tensor]:
        """Return the weighted supervised losses, the mean over decoder layers (MaskFormer sums them)."""
        config = self.config
        focal, dice = mask_losses(masks, targets, matching)
        return {
            "class": config.class_weight * class_loss(classes, targets, matching, config.no_object_weight),
            "focal": config.focal_weight * focal,
            "dice": config.dice_weight * dice,
        }

    def _regional(self, found: Masks, from_teacher: TeacherOutput, matching: Matching) -> dict[str, Tensor]:
        """Return the weighted region losses that are switched on."""
        config, targets = self.config, from_teacher.targets
        classes, logits = found.classes[-1], found.masks[-1]
        masks, predicted = logits.float().sigmoid(), classes.argmax(2)
        positive = rc2l.positives(predicted, targets, matching)

        def features() -> Tensor:
            with torch.autocast(masks.device.type, enabled=False):
                return rc2l.region_features(found.pixels.float(), masks)

        terms: dict[str, Callable[[], Tensor]] = {
            "rmc": lambda: rc2l.region_mask_contrast(masks, targets, positive, config.mask_temperature),
            "rfc": lambda: rc2l.region_feature_contrast(
                features(), from_teacher.features, predicted, targets, positive, config.feature_temperature
            ),
            "rcc": lambda: rc2l.region_class_consistency(classes, targets, matching),
            "smc": lambda: rc2l.semantic_mask_consistency(
                semantic_scores(classes, logits), from_teacher.semantic, targets
            ),
        }
        found_terms = {}
        for name, term in terms.items():
            if weight := config.unsupervised_weight * getattr(config, f"{name}_weight"):
                with phase(f"loss {name}"):
                    found_terms[name] = weight * term()
        return found_terms

    def after_step(self, step: int) -> None:
        """Move the teacher."""
        self.teacher.update(self.student, step)

    @property
    def predictors(self) -> dict[str, nn.Module]:
        """Teacher and student; the config says which one predicts."""
        return headline_first({"teacher": self.teacher.model, "student": self.student}, self.config.predict_with)


def _label_cells(semantic: Tensor, labels: Tensor | None) -> Tensor:
    """Write visible labels (B, H, W) into per-pixel scores (B, K, h, w), each at the nearest cell."""
    if labels is not None:
        labels = F.interpolate(labels[:, None].float(), semantic.shape[2:], mode="nearest")[:, 0].long()
    return with_visible_labels(semantic, labels)


def _regions(network: nn.Module, image: Tensor) -> Masks:
    return cast(MaskClassifier, network).regions(image)


def _to_strong(unlabelled: Unlabelled, maps: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the strong view, and weak-view maps (B, C, h, w) in its frame with the share of known pixels (B, h, w)."""
    weak, strong = unlabelled.weak, unlabelled.strong
    size = (maps.shape[2], maps.shape[3])
    fine = bilinear(maps, weak.shape[2:], align_corners=False)
    known = torch.ones_like(fine[:, :1])
    moved = strong.warp(torch.cat((fine, known), 1))
    (image,) = strong.photometric(*strong.geometric(weak))
    return image, shrink(moved[:, :-1], moved[:, -1], size)


def _mixed(from_teacher: TeacherOutput, keep: Tensor) -> TeacherOutput:
    """Paste the next image where `keep` (B, H, W) is False; the regions of both images are cut alike, so there are 2T."""
    targets = from_teacher.targets
    inside = F.adaptive_avg_pool2d(keep[:, None].float(), (targets.mask.shape[2], targets.mask.shape[3]))
    outside = 1 - inside
    other = Targets(*(x.roll(-1, 0) for x in targets))
    joined = Targets(
        torch.cat((targets.label, other.label), 1),
        torch.cat((targets.mask * inside, other.mask * outside), 1),
        torch.cat((targets.present, other.present), 1),
        targets.weight * inside[:, 0] + other.weight * outside[:, 0],
    )
    return TeacherOutput(
        torch.where(keep[:, None], from_teacher.image, from_teacher.image.roll(-1, 0)),
        joined,
        torch.cat((from_teacher.features, from_teacher.features.roll(-1, 0)), 1),
        from_teacher.semantic * inside + from_teacher.semantic.roll(-1, 0) * outside,
    )


def _without_small(from_teacher: TeacherOutput, min_area: float) -> TeacherOutput:
    """Leave out regions of which the strong view shows less than `min_area` of the image, or nothing."""
    targets = from_teacher.targets
    area = (targets.mask * targets.weight[:, None]).mean((2, 3))
    present = targets.present & (area > 0) & (area >= min_area)
    return from_teacher._replace(targets=targets._replace(present=present))
