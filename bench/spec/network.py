"""The network that a cell has in the end: a method may bring its own, on the encoder that the recipe names."""

from __future__ import annotations

from bench import registry
from bench.spec.cell import Part
from bench.yaml import Raw

# What the networks of a grid share where a method brings its own: the encoder, its initial weights, what of it is trained.
_ENCODER = ("backbone", "weights", "batch_norm", "freeze_stages")


def own_network(recipe: Part, method: Part) -> Raw | None:
    """Return the network that a method brings in place of the recipe's, as it would be written; None where it takes that.

    It gets the encoder as far as the recipe writes it down. All else is its own, defaults included: an output stride of
    one network is no option of another.
    """
    wanted = getattr(method.cls, "network", None)
    if wanted in (None, recipe.name):
        return None
    fields = set(_ENCODER) & recipe.config.model_fields_set & set(registry.get("network", wanted).Config.model_fields)
    return {"name": wanted, **recipe.config.model_dump(mode="json", include=fields)}
