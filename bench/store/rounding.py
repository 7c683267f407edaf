"""What decides how a run's sums are rounded, beside its cell: threads, compilation, and the hardware it ran on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from bench.errors import BenchError, Damaged, MachineError
from bench.files import read_json, sound_rows, write_json
from bench.machine import default_threads
from bench.patience import exists
from bench.spec.messages import one_line
from bench.spec.resources import Compile, Resources
from bench.store.run import Run


class Rounding(TypedDict, total=False):
    """The content of rounding.json; files from before the hardware was noted have only the first two.

    Attributes:
        threads, compile: of the run's first attempt; every later one has the same.
        device: kind of the device on which the run went on last, `cpu` or `cuda`.
        models: models of the devices on which the run was trained, in order; one after the other differs.
        codes: hashes of the code that trained it (``bench.run.provenance.code_digest``), likewise.
    """

    threads: int
    compile: Compile
    device: str
    models: list[str]
    codes: list[str]


class _Noted(TypedDict):
    """What rounding.json must hold, and may."""

    threads: Annotated[int, Field(strict=True, gt=0, lt=1 << 20)]
    compile: Compile
    device: NotRequired[Literal["cpu", "cuda"]]
    models: NotRequired[list[str]]
    codes: NotRequired[list[str]]


def as_it_began(run: Run, resources: Resources) -> Resources:
    """Return the resources with threads and compilation as they were in the run's first attempt.

    A run compiled into CUDA graphs that goes on on a CPU, as was asked for by name, is compiled without them.
    """
    kept = _known(run)
    threads = kept.get("threads", resources.threads or default_threads())
    compiled = kept.get("compile", resources.compile)
    if resources.device == "cpu" and kept:
        compiled = bool(compiled)
    return resources.model_copy(update={"threads": threads, "compile": compiled})


def go_on(run: Run, resources: Resources, device: str, model: str, code: str) -> Rounding:
    """Note device and code of an attempt that is about to begin, and return what is noted of all of them.

    Args:
        run: the run; where it has no checkpoint it begins anew.
        resources: from :func:`as_it_began`.
        device: its kind, `cpu` or `cuda`.
        model: its model's name.
        code: hash of the code.

    Raises:
        MachineError: if the run has a checkpoint from a device of the other kind, and `resources` don't name this one.
        BenchError: if the checkpoint is of a GPU and from before this version, which computes otherwise there.
    """
    kept = _began(run) if exists(run.checkpoint) else {}
    if kept.get("device") == "cuda" and "models" not in _known(run):
        raise BenchError(
            f"{run.path}: it began on a GPU under an earlier version, which computed otherwise there (TF32, ReCo's draws): "
            "remove the folder to run it anew"
        )
    before = kept.get("device", device)
    if before != device and resources.device == "auto":
        raise MachineError(
            f"the run began on {kept['models'][-1]} ({before}) and would go on on {model} ({device}), which rounds "
            f"differently: run it where there is a {before} device, or insist with `device: {device}` (resources)"
        )
    return _note(run, resources, device, _with(kept.get("models", []), model), _with(kept.get("codes", []), code))


def began_anew(run: Run, resources: Resources, device: str, model: str, code: str) -> Rounding:
    """Note that an attempt began at the first step after all, its checkpoint being damaged; arguments as for `go_on`."""
    return _note(run, resources, device, [model], [code])


def facts(noted: Rounding) -> dict[str, list[str]]:
    """Return the facts of a state that say on what, and with which code, a run was trained."""
    return {"hardware": noted["models"], "codes": noted["codes"]}


def _with(known: list[str], one: str) -> list[str]:
    return known if known[-1:] == [one] else [*known, one]


def _note(run: Run, resources: Resources, device: str, models: list[str], codes: list[str]) -> Rounding:
    threads, compiled = resources.threads, resources.compile
    noted = Rounding(threads=threads, compile=compiled, device=device, models=models, codes=codes)
    write_json(run.rounding, noted)
    return noted


def went_on(models: list[str] | None) -> str | None:
    """Return in words that a run went on on other hardware: `began on A and went on on B`; None where it didn't."""
    return f"began on {models[0]} and went on on {', then '.join(models[1:])}" if models and len(models) > 1 else None


def mixed_code(codes: list[str] | None) -> str | None:
    """Return in words that a run went on with other code than began it; None where it didn't."""
    return f"mixed code: {' → '.join(code[:8] for code in codes)}" if codes and len(codes) > 1 else None


def read_rounding(run: Run) -> Rounding:
    """Return what is noted of a run; nothing where nothing is.

    Raises:
        Damaged: if the file says anything else.
    """
    found = read_json(run.rounding, dict)
    try:
        return cast(Rounding, {} if found is None else _ROUNDING.validate_python(found))
    except ValidationError as error:
        raise Damaged(run.rounding, one_line(error)) from None


_ROUNDING = TypeAdapter(_Noted)


def _known(run: Run) -> Rounding:
    """Return what is noted of a run; from its attempts where that isn't there, or is damaged."""
    try:
        return read_rounding(run) or _from_attempts(run)
    except Damaged:
        return _from_attempts(run)


def _from_attempts(run: Run) -> Rounding:
    """Return what the attempts say from which a run's state comes: those from the last one that began anew."""
    rows = sound_rows(run.attempts)
    anew = [number for number, row in enumerate(rows) if row.get("goes_on") is False]
    models, codes = list[str](), list[str]()
    for row in rows[anew[-1] if anew else 0 :]:
        models = _with(models, _model(row))
        codes = _with(codes, str(row.get("code_sha256")))
    if not rows or not {"threads", "device", "code_sha256"} <= rows[-1].keys():
        return {}
    last = rows[-1]
    on = "cpu" if last["device"] == "cpu" else "cuda"
    found = {"threads": last["threads"], "compile": last.get("compile", False), "device": on}
    try:
        return cast(Rounding, _ROUNDING.validate_python({**found, "models": models, "codes": codes}))
    except ValidationError:
        return {}


def _model(row: Mapping[str, Any]) -> str:
    """Return the model of the device of an attempt, as ``bench.train.setup.model`` names it."""
    on_cpu, processes = row.get("device") == "cpu", int(row.get("processes") or 1)
    if processes == 1:
        return str(row.get("cpu" if on_cpu else "device"))
    return f"{row.get('cpu')} ({processes} processes)" if on_cpu else f"{processes} × {row.get('device')}"


def _began(run: Run) -> Rounding:
    """Return what is kept of the run; hardware and code from its last attempt where they weren't noted yet."""
    kept = _known(run)
    if "codes" in kept:
        return kept
    last = ([*sound_rows(run.attempts)] or [{}])[-1]
    if "code_sha256" in last:
        kept = {**kept, "codes": [str(last["code_sha256"])]}
    if "models" in kept or "device" not in last:
        return kept
    on_cpu = last["device"] == "cpu"
    return {**kept, "device": "cpu" if on_cpu else "cuda", "models": [str(last["cpu" if on_cpu else "device"])]}
