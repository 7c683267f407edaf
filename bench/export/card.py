"""The model card of an exported predictor, from the store alone, and its score as the Hugging Face Hub reads it."""

from __future__ import annotations

import datetime
from typing import Any

import jinja2
import yaml

from bench.export.config import ExportedConfig
from bench.files import read_json, read_jsonl
from bench.store.cells import read_cell
from bench.store.run import Run
from bench.text import without_commands

_CARD = """\
---
{{ front }}---

# {{ title }}

A predictor for semantic segmentation, trained by the method `{{ method }}` on `{{ dataset }}` with {{ labelled }} labelled
{% if unlabelled %}and {{ unlabelled }} unlabelled {% endif %}images, and exported by {{ c.made_by }}.

## Use

```python
from bench.export.sources import load_exported

model = load_exported("{{ '.' }}")  # this folder; in a checkout of SemiSegBench
mask = model.predict(image)  # (H, W, 3) uint8, RGB, to (H, W) uint8: class indices
```

or `python bench.py predict . IMAGES -o OUT`.
{%- if c.onnx %} `model.onnx` needs no SemiSegBench: input `image`, (1, 3, H, W) float32, RGB in [0, 1],
of any size; output `scores`, (1, {{ c.classes | length }}, H, W), whose highest is the class. It computes in fp32.
On {{ compared }}, onnxruntime {{ c.onnx.onnxruntime }} and torch differ by at most {{ apart }}.
{%- if c.evaluation.mode != 'whole' %}
It takes whole images; the run is evaluated otherwise: {{ c.trained.evaluation }}.
{%- endif %}
{%- endif %}

- Input: RGB in [0, 1]. The network normalises by itself
{%- if c.normalisation.mean %}: mean {{ c.normalisation.mean }}, standard deviation {{ c.normalisation.std }}{% endif %}.
- Images are prepared to {{ prepared }}, bilinear and antialiased, before they are predicted.
- Precision of the run: {{ c.numerics.precision }}.

## Score

mIoU {{ '%.2f' % c.trained.miou }} %: {{ c.trained.evaluation }}.
Weights of the {{ c.trained.weights }} evaluation, step {{ c.trained.step }}.
{%- if c.trained.weights == 'best' %} They were chosen by this very score, which is therefore optimistic.{% endif %}
One run, seed {{ seed }}: its spread over seeds is not known from it.

| index | class | colour | IoU in % |
|---:|---|---|---:|
{% for name, colour, iou in rows -%}
| {{ loop.index0 }} | {{ name }} | {{ colour }} | {{ iou }} |
{% endfor %}
## Training

| | |
|---|---|
{% for key, value in facts -%}
| {{ key }} | {{ value }} |
{% endfor %}
The resolved recipe:

```yaml
{{ recipe }}```

## Limits

Trained and scored on the images above alone; nothing is known of others. The terms of the dataset, and of initial weights
where there were any, hold for what was trained on them; this card states no licence.
"""


def card(config: ExportedConfig, run: Run) -> str:
    """Return the model card, Markdown with YAML front matter. What the store doesn't know isn't in it."""
    cell, result = read_cell(run), read_json(run.result)
    spec = cell.spec()
    protocol = cell.title if cell.title == cell.protocol.name else f"{cell.protocol.name} {cell.title}"
    prepared = cell.dataset.config
    size = (
        f"{prepared.size[0]}×{prepared.size[1]}"
        if prepared.size
        else (f"a longer side of {prepared.long_side}" if prepared.long_side else "no other size than their own")
    )
    front = {
        "library_name": "semisegbench",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "semi-supervised", cell.method.name, cell.network.name],
    }
    values: dict[str, Any] = {
        "c": config,
        "front": yaml.safe_dump(front, sort_keys=False),
        "title": _cell(f"{cell.method.name} on {cell.dataset.name}, {protocol}"),
        "method": cell.method.name,
        "dataset": cell.dataset.name,
        "labelled": result["labelled_images"],
        "unlabelled": result["unlabelled_images"],
        "prepared": size,
        "apart": f"{config.onnx['largest_difference']:.1g}" if config.onnx else "",
        "compared": " and ".join(f"{h}×{w}" for h, w in config.onnx["compared_at"]) if config.onnx else "",
        "seed": cell.seeds.data,
        "rows": _rows(config),
        "facts": _facts(run, protocol, spec),
        "recipe": yaml.safe_dump(_without_paths(spec), sort_keys=False, allow_unicode=True, width=110),
    }
    text = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown)
    ).from_string(_CARD)
    return without_commands(text.render(values))


def _cell(text: object) -> str:
    """Return a text as the cell of a Markdown table: on one line, without markup of its own."""
    line = " ".join(str(text).split())
    for mark in "\\`*_{}[]<>|":
        line = line.replace(mark, f"\\{mark}") if mark != "<" else line.replace("<", "&lt;")
    return line


def _rows(config: ExportedConfig) -> list[tuple[str, str, str]]:
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in config.palette]
    scores = ["absent" if iou is None else f"{iou:.1f}" for iou in config.trained.iou]
    return [(_cell(name), *rest) for name, *rest in zip(config.classes, colours, scores, strict=True)]  # type: ignore[misc]


def _facts(run: Run, protocol: str, spec: dict[str, Any]) -> list[tuple[str, str]]:
    attempts = list(read_jsonl(run.attempts))
    last = attempts[-1] if attempts else {}
    network = spec["network"]
    known = {
        "run": f"`{run.id}`",
        "label budget": protocol,
        "split (SHA-256)": f"`{spec['split_sha256'][:16]}`",
        "network": ", ".join(filter(None, [network["name"], network.get("backbone")])),
        "initial weights": _initial(network.get("weights", "none")),
        "iterations": spec["schedule"]["iterations"],
        "commit": f"`{last['git_sha'][:12]}`" + (" with changes" if last.get("git_dirty") else "")
        if last.get("git_sha")
        else "",
        "device": last.get("device", ""),
        "packages": ", ".join(
            f"{k} {v}" for k, v in (last.get("packages") or {}).items() if k in ("torch", "torchvision", "timm") and v
        ),
    }
    return [(key, value if str(value).startswith("`") else _cell(value)) for key, value in known.items() if value != ""]


def _initial(weights: str) -> str:
    return {"none": "none, from scratch"}.get(weights, weights.rpartition("/")[2])


def _without_paths(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec with the name of a file of initial weights in place of its path on the machine that trained."""
    network = dict(spec["network"])
    if "/" in str(network.get("weights", "")):
        network["weights"] = _initial(network["weights"])
    return {**spec, "network": network}


def scores_file(config: ExportedConfig, benchmark: str) -> str:
    """Return the score as the Hub's ``.eval_results/*.yaml`` has it.

    Source: "Evaluation results" in the Hub's documentation of model cards: a list of entries with ``dataset`` (``id`` and
    ``task_id``), ``value``, and, where known, ``date`` and ``notes``.
    """
    entry = {
        "dataset": {"id": benchmark, "task_id": "mean_iou"},
        "value": round(config.trained.miou, 2),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "notes": f"{config.trained.evaluation}; {config.trained.weights} weights; run {config.trained.run}",
    }
    return yaml.safe_dump([entry], sort_keys=False, allow_unicode=True)
