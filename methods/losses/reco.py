"""ReCo's regional contrast between sampled pixels: exact, without a loop over classes or queries, and lean.

Source: Liu, Zhi, Johns and Davison, "Bootstrapping Semantic Segmentation with Regional Contrast", ICLR 2022, section 3,
and ``compute_reco_loss`` of the authors' code (github.com/lorenmt/reco), from which two points are taken that the paper
leaves open: cosine similarity where its formula shows a dot product, and division by the number of classes present,
those without a query included.

Shapes never depend on the data: pixels are sorted by class once, and every draw is a uniform number that is mapped to a
position within a class's range. Absent classes are masked, not skipped. So nothing waits for the device, and the loss
runs under ``torch.compile`` and ``FakeTensorMode``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bench import kernels
from methods.losses.negatives import negatives_logsumexp

QuerySampling = Literal["hard", "easy", "random"]
KeySampling = Literal["active", "random"]

_EPS = 1e-8  # smallest norm, as in torch.cosine_similarity


class Draws(NamedTuple):
    """The random numbers of one call, uniform in [0, 1), float64 (float32 has too few values for many pixels).

    Attributes:
        query: (K, Q), one number per query.
        negative: (K, Q, N), one number per negative key.
    """

    query: Tensor
    negative: Tensor


class Samples(NamedTuple):
    """What was sampled, as indices into the B·h·w pixels.

    Attributes:
        query: (K, Q) int64.
        negative: (K, Q, N) int32.
        active: (K,) bool; rows of classes that take no part (no query, or the only class) hold arbitrary pixels.
    """

    query: Tensor
    negative: Tensor
    active: Tensor


class _Groups(NamedTuple):
    """Pixels by class. `order` (P,) int32 lists them by class, hard before easy, not valid ones last."""

    order: Tensor
    valid: Tensor  # (K,) number of valid pixels of the class
    hard: Tensor  # (K,) of those, the hard ones
    mean: Tensor  # (K, D) mean representation over the valid pixels, 0 for absent classes


def draw(
    num_classes: int, num_queries: int, num_negatives: int, *, seed: int, device: torch.device | str = "cpu"
) -> Draws:
    """Return the random numbers for K classes, Q queries per class and N negative keys per query.

    They are a pure function of the shape and `seed` (see ``bench.seeds.derive``): drawn on the CPU for every device,
    because CUDA's generator gives other numbers on another model of GPU once there are some 200,000 of them.
    """
    device, shape = torch.device(device), (num_classes, num_queries)
    generator = torch.Generator().manual_seed(seed)

    def uniform(*size: int) -> Tensor:
        host = torch.empty(size, dtype=torch.float64, pin_memory=device.type == "cuda")
        return torch.rand(size, generator=generator, out=host).to(device, non_blocking=True)

    return Draws(uniform(*shape), uniform(*shape, num_negatives))


def drawing(
    num_classes: int, num_queries: int, num_negatives: int, *, seed: int, device: torch.device
) -> Callable[[], Draws]:
    """Return what gives :func:`draw`'s numbers; beside a GPU they are drawn from now on, while the networks run."""
    arguments = partial(draw, num_classes, num_queries, num_negatives, seed=seed, device=device)
    return _beside().submit(arguments).result if device.type == "cuda" else arguments


@cache
def _beside() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="draws")


def reco_loss(
    representation: Tensor,
    label: Tensor,
    valid: Tensor,
    probability: Tensor,
    draws: Draws,
    *,
    strong_threshold: float,
    temperature: float,
    query: QuerySampling = "hard",
    key: KeySampling = "active",
) -> Tensor:
    """Return the loss, a scalar in float32 (float64 for float64 input); 0 within the graph where nothing is sampled.

    For every query q of class c: cross-entropy of softmax(cos(q, ·) / temperature) over the positive key (the mean of
    class c over all valid pixels) and N negative keys; mean over the class's queries; sum over classes divided by the
    number of classes present. Keys carry no gradient.

    Args:
        representation: (B, D, h, w).
        label: (B, h, w) int64, labels and pseudo-labels; values outside [0, K) are ignored.
        valid: (B, h, w) bool: labelled pixels, and unlabelled ones with a confident pseudo-label.
        probability: (B, K, h, w) predicted by the student, in [0, 1].
        draws: from :func:`draw`, on the device of `representation`; sets Q and N.
        strong_threshold: a valid pixel is hard where the probability of its class is below this.
        temperature: of the keys' softmax and of the classes' (`key`).
        query: which valid pixels of the class are queries, drawn with replacement.
        key: active draws the negative's class from softmax(cos(mean_c, mean_k) / temperature) over the other classes
            present, random draws it uniformly; the pixel is uniform among the class's valid ones either way.
    """
    with torch.autocast(representation.device.type, enabled=False):
        rows = _rows(representation)
        groups = _group(rows.detach(), label, valid, probability, strong_threshold)
        samples = _sample(groups, draws, temperature, query, key)
        contrast = _contrast(rows, groups.mean, samples, temperature)
        return torch.where(samples.active, contrast, 0).sum() / (groups.valid > 0).sum().clamp_min(1)


def _rows(representation: Tensor) -> Tensor:
    """(B, D, h, w) to (P, D) in at least float32; a view if stored channels last, else a copy."""
    rows = representation.permute(0, 2, 3, 1).flatten(0, 2)
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def _group(rows: Tensor, label: Tensor, valid: Tensor, probability: Tensor, strong_threshold: float) -> _Groups:
    num_classes = probability.shape[1]
    valid = valid & (label >= 0) & (label < num_classes)
    own = probability.gather(1, label.clamp(0, num_classes - 1).unsqueeze(1)).flatten()
    hard = own.to(rows.dtype) < strong_threshold
    group = torch.where(valid, label, num_classes).flatten()
    member = group.unsqueeze(1) == torch.arange(num_classes, device=group.device)
    number = member.sum(0)
    mean = (member.to(rows.dtype).T @ rows) / number.clamp_min(1).unsqueeze(1)
    order = (2 * group + ~hard).to(torch.int32).argsort(stable=True)
    return _Groups(order.to(torch.int32), number, (member & hard.unsqueeze(1)).sum(0), mean)


def _sample(groups: _Groups, draws: Draws, temperature: float, query: QuerySampling, key: KeySampling) -> Samples:
    skip = groups.hard if query == "easy" else torch.zeros_like(groups.hard)
    number = groups.hard if query == "hard" else groups.valid - skip
    active = (number > 0) & ((groups.valid > 0).sum() > 1)
    place = (draws.query * _below(number).unsqueeze(1)).long()
    position = torch.where(active, _starts(groups) + skip, 0).unsqueeze(1) + torch.where(active.unsqueeze(1), place, 0)
    chosen = groups.order.index_select(0, position.flatten()).view(position.shape)
    negative = _negatives(groups, draws.negative, _class_edges(groups, temperature, key), active)
    return Samples(chosen.long(), negative, active)


def _class_edges(groups: _Groups, temperature: float, key: KeySampling) -> Tensor:
    """Return the cumulative distribution (K, K) of the negative's class (column) for each query class; it ends at 1."""
    present = groups.valid > 0
    unit = F.normalize(groups.mean, dim=1, eps=_EPS).double()
    similarity = unit @ unit.T * (key == "active")
    other = present & ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    share = torch.where(other, similarity / temperature, -torch.inf).softmax(1)
    total = (share.unsqueeze(1) * torch.ones_like(share).tril()).sum(2)  # cumsum is not deterministic on CUDA
    return torch.where(other.any(1, keepdim=True), total / total[:, -1:], 1)


def _negatives(groups: _Groups, uniform: Tensor, edge: Tensor, active: Tensor) -> Tensor:
    """Map each uniform number to a class by `edge`, and its place within that class's share, again uniform, to a pixel.

    In rows that are not active every number maps to the first pixel in order, so that they cost next to nothing.
    """
    lower = F.pad(edge[:, :-1], (1, 0))
    slope = torch.where(active.unsqueeze(1) & (edge > lower), _below(groups.valid) / (edge - lower), 0).flatten()
    start = torch.where(active.unsqueeze(1), _starts(groups), 0).flatten()
    row = torch.arange(len(edge), dtype=torch.int32, device=edge.device).unsqueeze(1) * len(edge)
    cell = _reached(uniform.flatten(1), edge).to(torch.int32).add_(row).flatten()
    place = uniform.flatten() - lower.flatten().index_select(0, cell)
    position = place.mul_(slope.index_select(0, cell)).to(torch.int32).add_(start.index_select(0, cell))
    return groups.order.index_select(0, position).view(uniform.shape)


def _reached(uniform: Tensor, edge: Tensor) -> Tensor:
    """Return for each number (K, M) how many of its row's edges (K, K), the last not counted, it has reached; an integer.

    Labels are uint8 with 255 for ignored pixels, so that K is at most 255. It is what ``searchsorted`` returns; on a CPU,
    with as many edges as classes, comparing with all of them takes half the time.
    """
    if kernels.kind(uniform.device) == "cuda":
        return torch.searchsorted(edge[:, :-1].contiguous(), uniform, right=True, out_int32=True)
    reached = torch.zeros(uniform.shape, dtype=torch.uint8, device=uniform.device)
    for column in range(edge.shape[1] - 1):
        reached += uniform >= edge[:, column : column + 1]
    return reached


def _below(number: Tensor) -> Tensor:
    """Return a float64 just below `number`, by which a uniform number is scaled so that rounding never reaches it."""
    return number.double() * (1 - 2**-40)


def _starts(groups: _Groups) -> Tensor:
    """Return the position in `order` of each class's first pixel, (K,) int32; a valid one even for absent classes."""
    return (groups.valid.cumsum(0) - groups.valid).clamp_max(groups.order.numel() - 1).to(torch.int32)


def _contrast(rows: Tensor, mean: Tensor, samples: Samples, temperature: float) -> Tensor:
    """Return the cross-entropy of each class, averaged over its queries, (K,)."""
    classes, queries = samples.query.shape
    # Not index_select, whose backward isn't deterministic on CUDA, where a pixel is drawn more than once.
    unit = F.normalize(F.embedding(samples.query.flatten(), rows), dim=1, eps=_EPS)
    keys = rows.detach()
    scale = 1 / (temperature * torch.linalg.vector_norm(keys, dim=1).clamp_min(_EPS))
    negative = negatives_logsumexp(unit, keys, scale, samples.negative.flatten(0, 1)).view(classes, queries)
    positive = (unit.view(classes, queries, -1) * F.normalize(mean, dim=1, eps=_EPS).unsqueeze(1)).sum(2) / temperature
    return F.softplus(negative - positive).mean(1)
