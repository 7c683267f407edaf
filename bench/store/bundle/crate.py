"""The description of a bundle as a Research Object Crate, version 1.1 (https://w3id.org/ro/crate/1.1): JSON-LD."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench import __version__
from bench.errors import BenchError
from bench.store.bundle.layout import CRATE, ENVIRONMENT, GRID, MANIFEST, PLAN, run_of

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_WHAT = {
    GRID: "The grid: recipe and axes",
    PLAN: "Its cells as they were planned, with all options",
    ENVIRONMENT: "Software, hardware and code that wrote the bundle and trained the runs",
    MANIFEST: "Size and SHA-256 of every other file",
}
_KINDS = {"json": "application/json", "jsonl": "application/jsonl", "yaml": "application/yaml", "txt": "text/plain"}
_TOOL = "#semisegbench"
Entity = dict[str, Any]


def licence(text: str) -> str:
    """Return the address of a licence that was given as an address or as an identifier of SPDX.

    Raises:
        BenchError: if it is neither.
    """
    if text.startswith(("https://", "http://")) and not re.search(r"\s", text):
        return text
    if _SPDX.fullmatch(text):
        return f"https://spdx.org/licenses/{text}"
    raise BenchError(f"--ro-crate '{text}': name the results' licence by SPDX's identifier (CC-BY-4.0) or its address")


def describe(manifest: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]], terms: str) -> Entity:
    """Return the content of ``ro-crate-metadata.json``.

    Args:
        manifest: format, grid, title, code, time and states of the runs.
        files: SHA-256 and size of the members, by name.
        terms: the licence's address.
    """
    folders, own = dict[str, list[str]](), [MANIFEST]
    for name in files:
        found = run_of(name)
        (own if found is None else folders.setdefault(f"runs/{found[0]}/", [])).append(name)
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": manifest["title"] or manifest["grid"],
        "description": f"Results of the grid {manifest['grid']}: {len(folders)} training runs of semi-supervised "
        f"semantic segmentation, with their label splits. `bench.py merge` takes them into a store.",
        "datePublished": manifest["created"],
        "license": {"@id": terms},
        "hasPart": [{"@id": name} for name in (*folders, *own)],
        "mentions": [{"@id": f"#{folder}"} for folder in folders],
    }
    about = {"about": {"@id": "./"}, "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}}
    graph = [
        {"@id": CRATE, "@type": "CreativeWork", **about},
        root,
        {"@id": terms, "@type": "CreativeWork", "name": terms.rsplit("/", 1)[-1], "description": "Licence"},
        {"@id": _TOOL, "@type": "SoftwareApplication", "name": "SemiSegBench", **_version(manifest["code"])},
        *(_file(name, facts) for name, facts in {**files, MANIFEST: {}}.items()),
        *(entity for folder, names in folders.items() for entity in _run(folder, names, manifest["runs"])),
    ]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _version(code: Mapping[str, Any]) -> Entity:
    commit = code.get("git_sha")
    return {"softwareVersion": f"{__version__}, commit {commit}" if commit else __version__}


def _file(name: str, facts: Mapping[str, Any]) -> Entity:
    size = {"contentSize": str(facts["size"]), "sha256": facts["sha256"]} if facts else {}
    what = {"description": _WHAT[name]} if name in _WHAT else {}
    kind = _KINDS.get(name.rsplit(".", 1)[-1], "application/octet-stream")
    return {"@id": name, "@type": "File", "name": name.rsplit("/", 1)[-1], "encodingFormat": kind, **size, **what}


def _run(folder: str, files: Sequence[str], states: Mapping[str, str]) -> Iterator[Entity]:
    """Yield a run's folder, and the action that made it."""
    name = folder.split("/")[1]
    parts = [{"@id": file} for file in files]
    what = f"A training run that ended as {states[name]}: configuration, metrics, scores, log"
    yield {"@id": folder, "@type": "Dataset", "name": name, "description": what, "hasPart": parts}
    ended = "Completed" if states[name] == "done" else "Failed"
    status = {"@id": f"http://schema.org/{ended}ActionStatus"}
    action = {"name": f"Training and evaluation of {name}", "instrument": {"@id": _TOOL}, "result": {"@id": folder}}
    yield {"@id": f"#{folder}", "@type": "CreateAction", **action, "object": {"@id": GRID}, "actionStatus": status}
