"""The pixels that ReCo's loss samples, by the loss's own steps."""

from __future__ import annotations

from torch import Tensor

from methods.losses.reco import Draws, KeySampling, QuerySampling, Samples, _group, _rows, _sample


def sample_indices(
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
) -> Samples:
    """Return the pixels that ``reco_loss`` samples for the same arguments."""
    groups = _group(_rows(representation.detach()), label, valid, probability, strong_threshold)
    return _sample(groups, draws, temperature, query, key)
