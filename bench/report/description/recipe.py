"""A recipe in words: network, schedule, optimizer, augmentation and methods, said once where all runs share them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.report.description.model import RunFacts, joined, number

Words = Callable[[Mapping[str, Any]], str]
_OF_CODE = ("name", "version", "code")


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def _flat(part: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield options in words: `crop_size [321, 321]`, `no nesterov`; what is off by being null is left out."""
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool):
            yield f"{prefix}{key}" if value else f"no {prefix}{key}"
        elif value is not None:
            yield f"{prefix}{key} {_value(value)}"


def options(part: Mapping[str, Any], said: Sequence[str] = _OF_CODE) -> str:
    """Return the options of a part or a section in words, without those that are `said` already."""
    return ", ".join(_flat({key: value for key, value in part.items() if key not in said}))


def part_words(part: Mapping[str, Any]) -> str:
    """Return a part in words: its name, and its options in brackets."""
    found = options(part)
    return f"{part.get('name', '')} ({found})" if found else str(part.get("name", ""))


def schedule_words(section: Mapping[str, Any]) -> str:
    """Return a schedule in words."""
    batch = section.get("batch") or {}
    words = f"{section.get('iterations', 0):,} iterations with {batch.get('labelled')} labelled and "
    words += f"{batch.get('unlabelled')} unlabelled images a step"
    if (pieces := section.get("accumulate", 1)) != 1:
        words += f" in {pieces} micro-batches"
    rest = options(section, ("iterations", "batch", "accumulate"))
    return f"{words} ({rest})" if rest else words


def optimizer_words(section: Mapping[str, Any]) -> str:
    """Return an optimizer and its learning rate in words."""
    sgd = section.get("name") == "sgd"
    words = f"{str(section.get('name', '')).upper() if sgd else 'AdamW'} at a learning rate of {section.get('lr')}"
    if sgd and section.get("momentum"):
        words += f", momentum {section['momentum']}{' (Nesterov)' if section.get('nesterov') else ''}"
    words += f", weight decay {section.get('weight_decay')}"
    if section.get("poly_power"):
        words += (
            f", polynomial decay of power {section['poly_power']} every {number(section.get('lr_every', 1), 'step')}"
        )
        words += f" down to {section.get('min_lr')}"
    else:
        words += ", a constant learning rate"
    if section.get("backbone_lr_factor", 1) != 1:
        words += f", times {section['backbone_lr_factor']} in the backbone"
    if section.get("warmup"):
        words += f", {section['warmup']} steps of linear warm-up"
    if section.get("clip_norm"):
        words += f", gradients clipped to norm {section['clip_norm']}"
    said = ("name", "lr", "momentum", "nesterov", "weight_decay", "poly_power", "lr_every", "min_lr")
    rest = options(section, (*said, "backbone_lr_factor", "warmup", "clip_norm"))
    return f"{words}, {rest}" if rest else words


SECTIONS: dict[str, tuple[str, Words]] = {
    "network": ("Network", part_words),
    "augmentation": ("Augmentation", part_words),
    "schedule": ("Schedule", schedule_words),
    "optimizer": ("Optimizer", optimizer_words),
    "loss": ("Supervised loss", options),
    "numerics": ("Numbers", options),
}


def variants(runs: Sequence[RunFacts], key: str) -> dict[str, list[RunFacts]]:
    """Return the runs by the JSON of a part or section of their identity; those that don't say it are left out."""
    found: dict[str, list[RunFacts]] = {}
    for run in runs:
        if isinstance(value := run.identity.get(key), Mapping):
            found.setdefault(json.dumps(value, sort_keys=False), []).append(run)
    return found


def _which(groups: Sequence[Sequence[RunFacts]]) -> list[str]:
    """Return for each group of runs which they are: by a coordinate that tells all groups apart, else by their number."""
    for axis in groups[0][0].cell.coords:
        values = [{str(run.cell.coords.get(axis, "")) for run in group} for group in groups]
        if axis != "seed" and sum(map(len, values)) == len(set().union(*values)):
            return [f"{axis} {joined(sorted(found))}" for found in values]
    return [number(len(group), "run") for group in groups]


def said(runs: Sequence[RunFacts], key: str, words: Words) -> str:
    """Return a part or a section of the runs in words, once where all share it, else each with the runs that have it."""
    found = variants(runs, key)
    if not found:
        return "unknown"
    texts = [words(json.loads(text)) for text in found]
    if len(texts) == 1:
        return texts[0]
    return "; ".join(f"{text} ({which})" for text, which in zip(texts, _which([*found.values()]), strict=True))


def methods(runs: Sequence[RunFacts]) -> str:
    """Return the methods in words, each with its options, by the names that tables give them."""
    found: dict[tuple[str, str], None] = {}
    for run in runs:
        label, part = str(run.cell.coords.get("method", "")), run.identity.get("method") or {}
        text = part_words(part) if part else label
        found[label, text if text.split(" ")[0] == label else f"{label}: {text}"] = None
    return "; ".join(text for _, text in found)
