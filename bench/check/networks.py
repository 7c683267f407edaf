"""What every network must keep: shapes, gradients, state, and that it learns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.check.cell import trained_parameters
from bench.check.outcomes import Check, demand, no_global_draws
from bench.check.toy import CLASSES, scenes
from bench.resize import bilinear
from bench.spec.cell import Part
from methods.base import Network

Make = Callable[[int], nn.Module]  # seed to a network in training mode
SIZES = ((32, 32), (64, 48), (45, 70))
STEPS = 12
FALLS_TO = 0.9


def _images(count: int = 2, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.allclose(one, other, rtol=1e-4, atol=1e-5))


def builds(make: Make) -> str:
    """The same seed gives the same weights."""
    with no_global_draws():
        first = make(0)
    again, other = make(0).state_dict(), make(1).state_dict()
    same = all(torch.equal(value, again[name]) for name, value in first.state_dict().items())
    demand(same, "two networks built after the same torch.manual_seed() have different weights")
    differ = any(not torch.equal(value, other[name]) for name, value in first.state_dict().items())
    demand(differ, "networks built after different torch.manual_seed() have the same weights")
    demand(
        getattr(first, "num_classes", None) == CLASSES, f"`num_classes` isn't the {CLASSES} classes it was built with"
    )
    return f"{sum(p.numel() for p in trained_parameters(first)):,} trained weights"


def scores(make: Make) -> str:
    """Images of any size give scores (B, K, h, w)."""
    network = make(0).eval()
    shapes = []
    for height, width in SIZES:
        with torch.inference_mode():
            found = network(_images(2, height, width))
        shape = tuple(found.shape)
        fits = len(shape) == 4 and shape[:2] == (2, CLASSES) and shape[2] <= height and shape[3] <= width
        demand(fits, f"images (2, 3, {height}, {width}) give {shape}")
        shapes.append(f"{height}x{width} to {shape[2]}x{shape[3]}")
    return ", ".join(shapes)


def has_features(make: Make) -> str:
    """The scores are classify(features(image)), the features as wide as said."""
    network = cast(Network, make(0).eval())
    needed = ("features", "classify", "feature_channels")
    missing = [name for name in needed if name not in dir(network)]
    demand(not missing, f"it has no {', '.join(missing)}")
    image = _images()
    with torch.inference_mode():
        features = network.features(image)
        width = network.feature_channels
        demand(features.shape[1] == width, f"features have {features.shape[1]} channels, `feature_channels` is {width}")
        found = network.classify(features)
        demand(_same(found, cast(nn.Module, network)(image)), "classify(features(image)) isn't what calling it gives")
    return f"{tuple(features.shape)}"


def can_be_perturbed(make: Make) -> str:
    """The features are decode(encode(image))."""
    network = cast(Network, make(0).eval())
    demand(hasattr(network, "encode") and hasattr(network, "decode"), "it has no encode() and decode()")
    image = _images()
    with torch.inference_mode():
        maps = network.encode(image)
        demand(_same(network.decode(maps), network.features(image)), "decode(encode(image)) isn't features(image)")
    return f"{len(maps)} maps"


def images_are_apart(make: Make) -> str:
    """In evaluation mode an image's scores are its own."""
    network, images = make(0).eval(), _images(3)
    with torch.inference_mode():
        whole, alone = network(images), network(images[1:2])
    demand(_same(whole[1:2], alone), "an image's scores depend on the others of its batch")
    return ""


def gradients_reach(make: Make) -> str:
    """Every weight that is trained takes a gradient."""
    network = make(0)
    network(_images()).float().square().mean().backward()
    missing = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    demand(not missing, f"no gradient reaches {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}")
    return ""


def keeps_state(make: Make) -> str:
    """Another one that loads its state predicts as it does."""
    first, other = make(0), make(1)
    first(_images())
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    with torch.inference_mode():
        same = torch.equal(first.eval()(_images()), other.eval()(_images()))
    demand(same, "another network that loaded its state_dict() predicts otherwise")
    return ""


def learns(make: Make) -> str:
    """The cross-entropy falls on one batch."""
    network, losses = make(0), []
    image, label = scenes(4, 0)
    optimizer = torch.optim.AdamW(trained_parameters(network), lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        resized = bilinear(network(image).float(), label.shape[1:], align_corners=True)
        loss = F.cross_entropy(resized, label, ignore_index=IGNORE_INDEX)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    told = f"cross-entropy {losses[0]:.3g}, after {STEPS} steps {losses[-1]:.3g}"
    demand(losses[-1] <= FALLS_TO * losses[0], told)
    return told


def runs_in_bf16(make: Make) -> str:
    """Under autocast to bfloat16 it runs forward and back, to finite scores."""
    network = make(0)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(_images())
    found.float().square().mean().backward()
    demand(bool(found.isfinite().all()), "scores in bf16 aren't finite")
    return ""


def network_checks(part: Part) -> list[Check]:
    """Return the checks of a network with its options."""

    def make(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network: nn.Module = part.cls(part.config, CLASSES)
        return network.train()

    alone = (
        "methods but those made for it can't use it: give it features(image), classify(features) and feature_channels"
    )
    return [
        Check(
            "builds", partial(builds, make), "__init__(config, num_classes) draws from torch's generator", first=True
        ),
        Check(
            "gives scores",
            partial(scores, make),
            "forward(image) takes any height and width: pad or resize within it, and give at most that size",
            first=True,
        ),
        Check("has features", partial(has_features, make), alone, required=False),
        Check(
            "can be perturbed",
            partial(can_be_perturbed, make),
            "methods that perturb features can't use it: give it encode(image) and decode(maps)",
            required=False,
        ),
        Check("keeps images apart", partial(images_are_apart, make), "no statistics over the batch in evaluation mode"),
        Check(
            "gradients reach all weights",
            partial(gradients_reach, make),
            "freeze what isn't trained: requires_grad_(False)",
        ),
        Check("keeps its state", partial(keeps_state, make), "hold weights in modules, what else counts in buffers"),
        Check("learns", partial(learns, make), "look at the initial weights and at normalisation"),
        Check("runs in bf16", partial(runs_in_bf16, make), "cast inputs of operators that need float32 with .float()"),
    ]
