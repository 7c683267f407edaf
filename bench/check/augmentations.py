"""What every augmentation must keep: views that show what their masks say, drawn from the generators they are given."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.arrays import IGNORE_INDEX, UInt8
from bench.check.outcomes import Check, demand, no_global_draws
from bench.seeds import rng
from bench.spec.cell import Part

COUNT = 12  # draws of each
LEVEL = 60  # of the images' grey per class
AGREE = 0.8  # least share of pixels whose colour is that of their label; borders of regions are blurred by scaling


def _scene(height: int = 64, width: int = 80) -> tuple[UInt8, UInt8]:
    """Return an image whose grey says the class, in blocks, and its mask."""
    blocks = rng(0, "blocks").integers(0, 4, (height // 16, width // 16))
    mask = blocks.repeat(16, 0).repeat(16, 1).astype(np.uint8)
    return (mask[:, :, None] * np.uint8(LEVEL)).repeat(3, 2), mask


def _agreement(image: Any, mask: Any) -> float:
    """Return the share of labelled pixels, 0 to 1, whose grey is within half a level of their class's."""
    grey, known = np.asarray(image, np.float64).mean(-1), np.asarray(mask) != IGNORE_INDEX
    near = np.abs(grey - np.asarray(mask, np.float64) * LEVEL) < LEVEL / 2
    return float(near[known].mean()) if known.any() else 1.0


def _crop(made: Any) -> tuple[int, int]:
    height, width = made.config.crop_size
    return int(height), int(width)


def labelled_views(make: Any) -> str:
    """An image and its mask are cut out alike, to the size of the crop."""
    made, (image, mask) = make(), _scene()
    kept, size = (image.copy(), mask.copy()), _crop(made)
    with no_global_draws():
        views = [made.labelled_view(image, mask, rng(0, "view", i)) for i in range(COUNT)]
    for view, label in views:
        demand(view.shape == (*size, 3) and view.dtype == np.uint8, f"the image is {view.shape} {view.dtype}")
        demand(label.shape == size and label.dtype == np.uint8, f"the mask is {label.shape} {label.dtype}")
        demand(set(np.unique(label)) <= {*np.unique(mask), IGNORE_INDEX}, "the mask has values that it hadn't")
    share = float(np.mean([_agreement(*view) for view in views]))
    demand(share >= AGREE, f"only {share:.0%} of the mask's pixels show their class")
    demand(np.array_equal(image, kept[0]) and np.array_equal(mask, kept[1]), "the original image or mask was changed")
    return f"{size[0]}x{size[1]}, {share:.0%} of the pixels show their class"


def weak_views(make: Any) -> str:
    """A view, its mask and its extent agree where the generators are in the same state."""
    made, (image, mask) = make(), _scene()
    size = _crop(made)
    for i in range(COUNT):
        view, label = made.weak_view(image, rng(1, i)), made.weak_mask(mask, rng(1, i))
        top, left, bottom, right = made.weak_extent(mask.shape, rng(1, i))
        demand(view.shape == (*size, 3) and view.dtype == np.uint8, f"weak_view is {view.shape} {view.dtype}")
        demand(_agreement(view, label) >= AGREE, "weak_mask doesn't show what weak_view does")
        shown = np.zeros(size, bool)
        shown[top:bottom, left:right] = True
        demand(bool((label[~shown] == IGNORE_INDEX).all()), "weak_mask has labels beyond weak_extent")
        demand(bool((label[shown] != IGNORE_INDEX).mean() > 0.99), "weak_extent reaches beyond the image")
    return ""


def finished(make: Any) -> str:
    """Labelled images become float32 in [0, 1], labels int64."""
    made, (image, mask) = make(), _scene()
    pairs = [made.labelled_view(image, mask, rng(2, i)) for i in range(3)]
    images = torch.stack([torch.from_numpy(one).permute(2, 0, 1) for one, _ in pairs])
    labels = torch.stack([torch.from_numpy(one) for _, one in pairs])
    with no_global_draws():
        out, label = made.finish(images, labels, [rng(3, i) for i in range(3)])
    _demand_image(out, images.shape)
    demand(label.dtype == torch.int64 and label.shape == labels.shape, f"labels are {label.dtype} {tuple(label.shape)}")
    _demand_image(made.to_float(images), images.shape)
    return ""


def _demand_image(image: Tensor, shape: torch.Size) -> None:
    demand(image.dtype == torch.float32 and image.shape == shape, f"images are {image.dtype} {tuple(image.shape)}")
    least, most = float(image.min()), float(image.max())
    demand(least >= -1e-6 and most <= 1 + 1e-6, f"images reach from {least:.3g} to {most:.3g}, not from 0 to 1")


def _strong(made: Any, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a weak view's labels, and image, labels and warped one-hot labels of its strong view."""
    image, mask = _scene()
    views = [(made.weak_view(image, rng(4, i)), made.weak_mask(mask, rng(4, i))) for i in range(3)]
    weak = made.to_float(torch.stack([torch.from_numpy(view).permute(2, 0, 1) for view, _ in views]))
    label = torch.stack([torch.from_numpy(one).long() for _, one in views])
    strong = made.strong([rng(seed, i) for i in range(3)], torch.device("cpu"))
    moved = strong.geometric(weak, (label, IGNORE_INDEX))
    out, seen = strong.photometric(*moved)
    hot = torch.stack([(label == c).float() for c in range(4)], dim=1)
    return label, out, seen, strong.warp(hot)


def strong_views(make: Any) -> str:
    """Image and labels keep their shapes and ranges, and labels no value that they hadn't."""
    made = make()
    with no_global_draws():
        label, out, seen, _ = _strong(made, 0)
    _demand_image(out, torch.Size((len(label), 3, *label.shape[1:])))
    demand(seen.shape == label.shape and seen.dtype == label.dtype, f"labels are {seen.dtype} {tuple(seen.shape)}")
    demand(
        set(torch.unique(seen).tolist()) <= {*torch.unique(label).tolist(), IGNORE_INDEX},
        "labels have values they hadn't",
    )
    return ""


def soft_targets(make: Any) -> str:
    """Soft targets are moved as labels are."""
    _, _, seen, warped = _strong(make(), 1)
    known = (seen != IGNORE_INDEX) & (warped.sum(1) > 0.9)
    demand(bool(known.any()), "no pixel is known in the strong view")
    share = float((warped.argmax(1) == seen)[known].float().mean())
    demand(share >= AGREE, f"warp() and geometric(), photometric() agree on only {share:.0%} of the pixels")
    return f"{share:.0%} of the pixels agree"


def follow_from_generators(make: Any) -> str:
    """The same generators give the same views, others give others."""
    image, mask = _scene()
    found = []
    for seed in (7, 7, 8):
        views = [make().labelled_view(image, mask, rng(seed, i)) for i in range(COUNT)]
        found.append(np.concatenate([view.ravel() for view, _ in views]))
    demand(np.array_equal(found[0], found[1]), "the same generator gives another labelled view the second time")
    demand(not np.array_equal(found[0], found[2]), "another generator gives the same labelled views")
    strong = [_strong(make(), seed)[1] for seed in (7, 7, 8)]
    demand(torch.equal(strong[0], strong[1]), "the same generators give another strong view the second time")
    demand(not torch.equal(strong[0], strong[2]), "other generators give the same strong view")
    return ""


def augmentation_checks(part: Part) -> list[Check]:
    """Return the checks of an augmentation with its options."""

    def make() -> Any:
        return part.cls(part.config)

    seeds = "draw from the generator that is given, in the same order whatever the image shows"
    return [
        Check(
            "makes labelled views",
            partial(labelled_views, make),
            "labelled_view(image, mask, rng) cuts both out by the same draw; `crop_size` is an option; border 255",
            first=True,
        ),
        Check(
            "makes weak views",
            partial(weak_views, make),
            "weak_view, weak_mask and weak_extent draw the same from generators in the same state",
            first=True,
        ),
        Check("finishes", partial(finished, make), "finish(image, label, rngs) and to_float() give float32 in [0, 1]"),
        Check(
            "makes strong views",
            partial(strong_views, make),
            "see methods.base.StrongAugment; clamp the image after colour operations, move labels by nearest neighbour",
            first=True,
        ),
        Check("moves soft targets", partial(soft_targets, make), "warp() repeats the geometric half and the flip"),
        Check("follows from its generators", partial(follow_from_generators, make), seeds),
    ]
