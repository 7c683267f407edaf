"""A cell: one training run, fully resolved, with an id that names what identifies it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from bench import NUMERICS, registry
from bench.config import Config
from bench.errors import BenchError
from bench.files import short_name
from bench.registry import Kind
from bench.spec.loss import Loss
from bench.spec.messages import validate
from bench.spec.sections import Evaluation, Numerics, Optimizer, Schedule
from bench.spec.seeds import Seeds
from bench.text import shown
from bench.yaml import Raw, RawView

LONGEST_SLUG = 240  # bytes; a name of a folder has up to 255, and the hash comes after it

PARTS: tuple[Kind, ...] = ("dataset", "protocol", "method", "network", "augmentation")
SECTIONS: dict[str, type[Config]] = {
    "schedule": Schedule,
    "optimizer": Optimizer,
    "loss": Loss,
    "numerics": Numerics,
    "evaluation": Evaluation,
    "seeds": Seeds,
}
# Sections that cells have got later: where they are as by default, they are no part of the id.
_LATER = ("loss",)


@dataclass(frozen=True)
class Part:
    """A registered entry with its options: a dataset, protocol, method, network or augmentation."""

    kind: Kind
    name: str
    config: Any  # an instance of the registered class's Config

    @property
    def cls(self) -> Any:
        """The registered class."""
        return registry.get(self.kind, self.name)

    def spec(self) -> Raw:
        """Return the part as it is written in cell.json."""
        return {"name": self.name, **self.config.model_dump(mode="json")}

    def identity(self) -> Raw:
        """Return what identifies the part, its code's version included."""
        version, code = getattr(self.cls, "version", None), registry.code_of(self.kind, self.name)
        more = {"version": version, "code": code}
        return {"name": self.name, **self.config.identity(), **{k: v for k, v in more.items() if v is not None}}


def canonical(value: Any) -> str:
    """Return JSON that is the same for equal values: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@lru_cache(maxsize=8192)
def _identity_text(piece: Part | Config) -> str:
    """Return a piece's identity as canonical JSON; cells of a grid share most pieces, so each is written once."""
    return canonical(piece.identity())


def part_mapping(kind: Kind, value: Any, where: str) -> Raw:
    """Bring the ways to write a part into one: ``{name: ..., option: ...}``.

    Ways: ``classmix``; ``{name: classmix, mix: cutmix}``; ``{classmix: {mix: cutmix}}``; and with a shorthand
    ``{few_labels: 20}``.

    Raises:
        BenchError: if it is none of these.
    """
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and "name" in value:
        return dict(value)
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, inner),) = value.items()
        if isinstance(inner, Mapping):
            return {"name": str(name), **inner}
        shorthand = getattr(registry.get(kind, str(name)), "shorthand", None)
        if shorthand is not None:
            return {"name": str(name), shorthand: inner}
    raise BenchError(f"{where}: expected a {kind}'s name, or a mapping with 'name' and its options, not {shown(value)}")


def resolve_part(kind: Kind, value: Any, where: str) -> Part:
    """Validate one part against the config of the registered class.

    Raises:
        BenchError: unknown name or option, wrong type, impossible value.
    """
    options = part_mapping(kind, value, where)
    name = options.pop("name")
    if not isinstance(name, str):
        raise BenchError(f"{where}.name: expected a {kind}'s name, not {shown(name)}")
    try:
        cls = registry.get(kind, name)
    except BenchError as error:
        raise BenchError(f"{where}: {error}") from None
    return Part(kind, name, validate(cls.Config, options, where))


@dataclass(frozen=True)
class Cell:
    """One training run. Build it with :meth:`from_spec`.

    Attributes:
        split_sha256: hash of the split's id lists.
        data_sha256: hash of what the dataset's files contain; "" where the code pins it (see ``datasets/content.py``).
    """

    dataset: Part
    protocol: Part
    method: Part
    network: Part
    augmentation: Part
    schedule: Schedule
    optimizer: Optimizer
    numerics: Numerics
    evaluation: Evaluation
    seeds: Seeds
    split_sha256: str
    data_sha256: str = ""
    loss: Loss = field(default_factory=Loss)

    def __post_init__(self) -> None:
        """Refuse a loss that the method has no place for."""
        if self.loss.supervised != "ce" and not getattr(self.method.cls, "has_cross_entropy", True):
            raise BenchError(f"loss.supervised: method '{self.method.name}' has no cross-entropy on labelled pixels")

    @classmethod
    def from_spec(cls, spec: RawView, where: str = "cell") -> Cell:
        """Rebuild a cell from :meth:`spec`.

        Raises:
            BenchError: if a key is missing, unknown or impossible.
        """
        unknown = set(spec) - set(PARTS) - set(SECTIONS) - {"split_sha256", "data_sha256"}
        if unknown or "split_sha256" not in spec:
            raise BenchError(f"{where}: not a cell of this version (keys {', '.join(sorted(unknown)) or 'missing'})")
        parts: Raw = {kind: resolve_part(kind, spec[kind], f"{where}: {kind}") for kind in PARTS}
        sections: Raw = {k: validate(m, spec.get(k), f"{where}: {k}") for k, m in SECTIONS.items()}
        return cls(**parts, **sections, split_sha256=spec["split_sha256"], data_sha256=spec.get("data_sha256", ""))

    def spec(self) -> Raw:
        """Return the whole cell as JSON types, defaults included, for cell.json."""
        parts: Raw = {kind: getattr(self, kind).spec() for kind in PARTS}
        sections = {name: getattr(self, name).model_dump(mode="json") for name in SECTIONS}
        data = {"data_sha256": self.data_sha256} if self.data_sha256 else {}
        return {**parts, **sections, "split_sha256": self.split_sha256, **data}

    def from_scratch(self) -> Cell:
        """Return the cell without initial weights: for who brings others, or asks only for time or memory."""
        config = self.network.config
        if not hasattr(config, "weights"):
            return self
        return replace(self, network=replace(self.network, config=config.model_copy(update={"weights": "none"})))

    def identity(self) -> Raw:
        """Return what identifies the run: everything that may change its result, and nothing else."""
        return {**{key: piece.identity() for key, piece in self.pieces()}, **self.rest()}

    def pieces(self) -> Iterator[tuple[str, Part | Config]]:
        """Yield what identifies the run of parts and sections, by their keys."""
        pieces = ((key, getattr(self, key)) for key in (*PARTS, *SECTIONS))
        return ((key, piece) for key, piece in pieces if key not in _LATER or piece != SECTIONS[key]())

    def rest(self) -> Raw:
        """Return what identifies the run beside its parts and sections."""
        data = {"data": self.data_sha256} if self.data_sha256 else {}
        return {"split": self.split_sha256, "numerics_version": NUMERICS, **data}

    @cached_property
    def title(self) -> str:
        """The label budget as people write it: ``20``, ``1/4``, ``full``."""
        return str(self.protocol.cls(self.protocol.config).title)

    @cached_property
    def slug(self) -> str:
        """Readable part of the id: a function of the identity alone, so that grids share runs."""
        seeds = self.seeds
        same = seeds.split == seeds.init == seeds.data
        seed = f"s{seeds.data}" if same else f"s{seeds.split}.{seeds.init}.{seeds.data}"
        network = getattr(self.network.config, "backbone", self.network.name)
        labels = f"{self.protocol.name}-{self.title}" if self.title != self.protocol.name else self.title
        words = (self.dataset.name, labels, str(network), self.method.name, seed)
        return short_name("_".join(re.sub(r"[^A-Za-z0-9.%]+", "-", word) for word in words), LONGEST_SLUG)

    @cached_property
    def id(self) -> str:
        """Slug plus the first 10 hex digits of the SHA-256 of the identity's canonical JSON."""
        texts = {key: _identity_text(piece) for key, piece in self.pieces()}
        texts |= {key: canonical(value) for key, value in self.rest().items()}
        text = "{" + ",".join(f'"{key}":{texts[key]}' for key in sorted(texts)) + "}"
        return f"{self.slug}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
