"""Whether what a bundle says of its runs is true: ids, splits and data against hashes, results against metrics."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bench.errors import BenchError
from bench.spec.cell import Cell, canonical
from bench.spec.identities import changed
from bench.store.bundle.layout import ENDED
from bench.store.bundle.read import Bundle
from bench.store.run import State

# What of an identity belongs to the code, not to the spec.
_OF_CODE = ("version", "code", "numerics_version")


def check(bundle: Bundle) -> list[str]:
    """Check every run, split and data listing of a verified bundle; return what can't be checked here, in words.

    Raises:
        BenchError: naming the first file that doesn't fit.
    """
    for sha256 in bundle.hashes("splits"):
        _check_split(bundle, sha256)
    for sha256 in bundle.hashes("data"):
        _check_data(bundle, sha256)
    splits, unknown = set(bundle.hashes("splits")), dict[str, list[str]]()
    for run_id, state in bundle.manifest.runs.items():
        if note := _check_run(bundle, run_id, state, splits):
            unknown.setdefault(note, []).append(run_id)
    return [f"{note} ({_some(ids)})" for note, ids in unknown.items()]


def _some(ids: list[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{len(ids)} runs, {ids[0]} among them"


def _check_split(bundle: Bundle, sha256: str) -> None:
    from datasets.split import Manifest as Split

    name = f"splits/{sha256}.json"
    try:
        split = Split.model_validate(bundle.mapping(name))
    except ValidationError:
        bundle.refuse(name, "is no manifest of a label split")
    if split.sha256 != sha256 or split.split.sha256 != sha256:
        bundle.refuse(name, "its image ids don't have this hash")


def _check_data(bundle: Bundle, sha256: str) -> None:
    from datasets.content import Content

    name = f"data/{sha256}.json"
    try:
        content = Content.from_json(bundle.mapping(name))
    except (KeyError, TypeError, ValueError, AttributeError):
        bundle.refuse(name, "is no listing of a dataset's files")
    if content.sha256 != sha256:
        bundle.refuse(name, "the files that it lists don't have this hash")


def _check_run(bundle: Bundle, run_id: str, state: str, splits: set[str]) -> str | None:
    """Check a run's cell, state and result; return why its id can't be computed here, if it can't."""
    folder, files = f"runs/{run_id}", bundle.files_of(run_id)
    note, spec = _check_cell(bundle, run_id)
    split = spec.get("split_sha256")
    if split not in splits:
        bundle.refuse(f"{folder}/cell.json", f"its label split {str(split)[:12]} isn't in the bundle")
    recorded = bundle.mapping(f"{folder}/state.json").get("state")
    done = "result.json" in files
    if state not in ENDED or recorded != state or done != (state == State.DONE.value):
        there = "has" if done else "has no"
        bundle.refuse(
            f"{folder}/state.json", f"the manifest says {state}, the file {recorded}, and it {there} result.json"
        )
    if done:
        _check_result(bundle, run_id, spec)
    return note


def _check_cell(bundle: Bundle, run_id: str) -> tuple[str | None, Mapping[str, Any]]:
    """Check that a run has the id that its identity gives, and the identity that its spec gives; return the spec."""
    name = f"runs/{run_id}/cell.json"
    known = bundle.mapping(name)
    slug, identity, spec = known.get("slug"), known.get("identity"), known.get("spec")
    if not (isinstance(identity, dict) and isinstance(spec, dict)):
        bundle.refuse(name, "is no cell: it has no identity or no spec")
    if f"{slug}-{hashlib.sha256(canonical(identity).encode()).hexdigest()[:10]}" != run_id or known.get("id") != run_id:
        bundle.refuse(name, "what identifies the run doesn't give its id")
    if identity.get("split") != spec.get("split_sha256") or identity.get("data") != spec.get("data_sha256"):
        bundle.refuse(name, "its spec names another label split, or other data, than its identity")
    try:
        cell = Cell.from_spec(spec, name)
        here, now = cell.identity(), cell.id
    except BenchError as error:
        text = " ".join(str(error).split()).removeprefix(f"{name}: ")
        return f"an id can't be computed with this code, only from what was recorded: {text[:200]}", spec
    except (KeyError, TypeError, ValueError, AttributeError):
        bundle.refuse(name, "is no cell: its spec lacks a part")
    if differing := changed(_of_spec(identity), _of_spec(here)):
        bundle.refuse(name, f"its spec isn't what identifies it: {', '.join(differing)[:200]}")
    if now != run_id:
        return "made by another version of the code, so that this one's grids count it as stale", spec
    return None, spec


def _of_spec(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity without what belongs to the code."""
    kept = {key: value for key, value in identity.items() if key not in _OF_CODE}
    return {key: _of_spec(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def _check_result(bundle: Bundle, run_id: str, spec: Mapping[str, Any]) -> None:
    """Check that a result belongs to its run, and that its scores are evaluations that the run recorded."""
    name = f"runs/{run_id}/result.json"
    result = bundle.mapping(name)
    if result.get("cell_id") != run_id or result.get("split_sha256") != spec.get("split_sha256"):
        bundle.refuse(name, f"it belongs to another run ({result.get('cell_id')}) or another label split")
    if (data := spec.get("data_sha256")) and result.get("data_sha256", data) != data:
        bundle.refuse(name, "it was made of other data than its cell names")
    scores = _evaluations(bundle, run_id)
    for which in ("last", "best", *(["selected"] if "selected" in result else [])):
        score = result.get(which)
        miou, step = (score.get("miou"), score.get("step")) if isinstance(score, dict) else (None, None)
        if isinstance(miou, bool) or not isinstance(miou, (int, float)) or not 0 <= miou <= 100:
            bundle.refuse(name, f"the mIoU of '{which}' is no number from 0 to 100: {miou!r}"[:120])
        if scores and not any(s == step and math.isclose(v, miou, abs_tol=1e-9) for s, v in scores):
            bundle.refuse(
                name, f"metrics.jsonl has no evaluation after {step} steps with the mIoU of '{which}', {miou}"
            )


def _evaluations(bundle: Bundle, run_id: str) -> list[tuple[Any, float]]:
    """Return step and mIoU of each evaluation that a run recorded; none where it has no metrics."""
    name, found = f"runs/{run_id}/metrics.jsonl", []
    for line in (bundle.read(name) or b"").splitlines():
        try:
            row = json.loads(line)
            if "eval" in row:
                found.append((row["step"], float(row["eval"]["miou"])))
        except (ValueError, TypeError, KeyError, RecursionError):
            bundle.refuse(name, "a line is no JSON of losses or an evaluation")
    return found
