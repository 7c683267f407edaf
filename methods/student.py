"""What all methods with one student network share: its forward pass on a batch, and the supervised loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from bench.arrays import IGNORE_INDEX
from bench.config import Config
from bench.phases import phase
from methods.base import Batch, Build, Method, Network
from methods.losses.segmentation import cross_entropy


@dataclass(frozen=True)
class Target:
    """Images of the student's forward pass, and what it should predict on them.

    Attributes:
        image: (B, 3, H, W) in [0, 1].
        label: (B, H, W) int64: the annotation or the pseudo-label, 255 = ignore.
        confidence: (B, H, W) in [0, 1]; 1 on annotated pixels, 0 on ignored ones.
        scores: the teacher's probabilities (B, K, H, W) in the same frame, for methods with soft targets.
    """

    image: Tensor
    label: Tensor
    confidence: Tensor
    scores: Tensor | None = None


@dataclass(frozen=True)
class StudentOutput:
    """The student's output on a target's images: decoder features (B, C, h, w) and class scores (B, K, h, w)."""

    target: Target
    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class StudentOutputs:
    """The student's outputs in one step; `unlabelled` is None in supervised training."""

    labelled: StudentOutput
    unlabelled: StudentOutput | None = None


def run_student(network: nn.Module, target: Target) -> StudentOutput:
    """Run a network that follows the contract ``methods.base.Network`` on a target's images."""
    contract = cast(Network, network)
    with phase("student"):
        features = contract.features(target.image)
        return StudentOutput(target, features, contract.classify(features))


class StudentMethod(Method):
    """A method with one network, `student`, trained on the labelled images.

    Losses are made in two halves, so that a method that adds a loss to another one (ReCo) can use that one's outputs:
    ``losses(batch) = terms(batch, outputs(batch))``.
    """

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__()
        self.config = config
        self.num_classes = build.num_classes
        self.ohem = build.ohem
        self.student = build.make_network()

    def labelled_target(self, batch: Batch) -> Target:
        """Return the labelled images with their annotation."""
        label = batch.labelled.label
        return Target(batch.labelled.image, label, (label != IGNORE_INDEX).float())

    def outputs(self, batch: Batch) -> StudentOutputs:
        """Run the student on a batch."""
        return StudentOutputs(run_student(self.student, self.labelled_target(batch)))

    def terms(self, batch: Batch, outputs: StudentOutputs) -> dict[str, Tensor]:
        """Return the named, weighted loss terms of what the student saw."""
        with phase("loss supervised"):
            return {"supervised": cross_entropy(outputs.labelled.logits, outputs.labelled.target.label, self.ohem)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named, weighted loss terms of a batch."""
        return self.terms(batch, self.outputs(batch))

    @property
    def predictors(self) -> dict[str, nn.Module]:
        """The student."""
        return {"student": self.student}
