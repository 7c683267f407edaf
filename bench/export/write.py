"""Writes a run's predictor into a folder: weights, config, graph and model card, whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bench import __version__
from bench.errors import BenchError
from bench.export.card import card, scores_file
from bench.export.config import CARD, CONFIG, GRAPH, WEIGHTS, ExportedConfig
from bench.export.sources import Source
from bench.files import write_json
from bench.spec.cell import Cell
from bench.train import checkpoint
from bench.train.predictor import with_weights

_HOW = {"mode", "size", "stride", "multiple_of", "batch_size"}  # what of an evaluation a predictor needs


@dataclass(frozen=True)
class Written:
    """What was written: the folder, its files with their bytes, and its config."""

    folder: Path
    files: dict[str, int]
    config: ExportedConfig


def export_run(source: Source, folder: Path, *, onnx: bool = True, force: bool = False, benchmark: str = "") -> Written:
    """Write a run's predictor.

    Args:
        source: the run.
        folder: where; it must be absent or empty, unless `force` replaces it.
        onnx: write the ONNX graph too.
        force: replace a folder that `export` wrote.
        benchmark: id on the Hugging Face Hub of the dataset that the score is of; "" writes no ``.eval_results``.

    Raises:
        BenchError: if the folder holds something else, the predictor can't be rebuilt or has no graph, or a package is
            missing.
    """
    _check_free(folder, force)
    network = with_weights(source.cell, len(source.classes), source.weights)
    _check_rebuilds(source.cell, network)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir(parents=True)
    try:
        config = _write_into(temporary, source, network, onnx, benchmark)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    return Written(folder, files, config)


def _check_free(folder: Path, force: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not os.listdir(folder)):  # noqa: PTH208
        return
    ours = folder.is_dir() and (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()
    if force and ours:
        return
    what = "it is there already; --force replaces it" if ours else "there is something else; give a folder of its own"
    raise BenchError(f"{folder}: {what}")


def _check_rebuilds(cell: Cell, predictor: nn.Module) -> None:
    if type(predictor) is not cell.network.cls:
        raise BenchError(
            f"method '{cell.method.name}' predicts with {type(predictor).__name__}, which isn't network "
            f"'{cell.network.name}' and can't be rebuilt from it; evaluate and predict with the run itself"
        )


def _write_into(folder: Path, source: Source, network: nn.Module, onnx: bool, benchmark: str) -> ExportedConfig:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise BenchError("export: safetensors isn't installed: pip install 'semisegbench[export]'") from None
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in source.weights.items()}
    path = folder / WEIGHTS
    path.touch()
    mode = path.stat().st_mode
    save_file(weights, path, metadata={"format": "pt", "run": source.run.id})
    path.chmod(mode)  # safetensors puts a private file in its place
    graph = None
    if onnx:
        from bench.export.graph import write_graph

        graph = write_graph(network, source.cell.evaluation, folder / GRAPH)
    config = _config(source, network, graph)
    write_json(folder / CONFIG, config.model_dump(mode="json", exclude_none=True))
    (folder / CARD).write_text(card(config, source.run), encoding="utf-8")
    if benchmark:
        (folder / ".eval_results").mkdir()
        name = f"{benchmark.replace('/', '_')}.yaml"
        (folder / ".eval_results" / name).write_text(scores_file(config, benchmark), encoding="utf-8")
    return config


def _config(source: Source, network: nn.Module, graph: dict[str, Any] | None) -> ExportedConfig:
    cell, result, which = source.cell.from_scratch(), source.result, source.which
    scored, data = result[which], cell.dataset.config
    spec = cell.network.spec()
    spec.pop("weights", None)
    backbone = getattr(network, "backbone", None)
    of_channels = {
        name: [round(float(value), 6) for value in getattr(backbone, name).flatten()]
        for name in ("mean", "std")
        if hasattr(backbone, name)
    }
    return ExportedConfig.model_validate(
        {
            "made_by": f"SemiSegBench {__version__}",
            "network": spec,
            "classes": list(source.classes),
            "palette": source.palette,
            "preparation": {"size": data.size, "long_side": data.long_side},
            "normalisation": of_channels,
            "evaluation": cell.evaluation.model_dump(mode="json", include=_HOW),
            "numerics": cell.numerics.model_dump(mode="json"),
            "trained": {
                "run": source.run.id,
                "weights": which,
                "step": scored["step"],
                "sha256": checkpoint.digest(source.weights),
                "miou": scored["miou"],
                "iou": scored["iou"],
                "evaluation": result["evaluation"],
            },
            "onnx": graph,
        }
    )
