"""What a method may predict with: its networks by name, and the mean of two of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from methods.losses.segmentation import resize


class MeanOfTwo(nn.Module):
    """The mean of two networks' class probabilities, as its logarithm: scores whose softmax is that mean."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, image: Tensor) -> Tensor:
        """Return log probabilities (B, K, h, w) float32 of images (B, 3, H, W), at the first network's resolution."""
        first = self.first(image).float()
        second = resize(self.second(image).float(), first.shape[2:])
        return torch.stack((first.log_softmax(1), second.log_softmax(1))).logsumexp(0) - math.log(2)


def headline_first(predictors: dict[str, nn.Module], headline: str) -> dict[str, nn.Module]:
    """Return predictors by name with the one first that is scored in any case."""
    return {headline: predictors[headline], **predictors}


def student_and_teacher(student: nn.Module, teacher: nn.Module, headline: str) -> dict[str, nn.Module]:
    """Return a teacher, its student and their mean, whose scores must be logits."""
    found = {"teacher": teacher, "student": student, "mean": MeanOfTwo(student, teacher)}
    return headline_first(found, headline)
