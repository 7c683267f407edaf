"""Lines about what is computed: waits for the device, losses beside the CPU's, and ReCo's kernels beside float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bench.phases import phase_watchers
from tests.gpu.context import Context, open_subject, release
from tests.gpu.report import MEANINGLESS, at_least, at_most, exactly

WAITS = "called a synchronizing CUDA operation"  # torch's warning; it has others about this mode
MATCHING = "loss matching"  # the phase that copies its costs to the host, once
SYNCS = {"rc2l": 1}  # waits that a method's step is allowed, all of them in that phase
# Teachers are not confident at the start: without thresholds every loss has pixels, and none of them is at a threshold.
OPTIONS: dict[str, dict[str, Any]] = {
    "augseg": {"threshold": 0.0},
    "classmix": {"threshold": 0.0},
    "fixmatch": {"threshold": 0.0},
    "pixel_contrast": {"threshold": 0.0, "weak_threshold": 0.0, "num_pixels": 256},
    "rc2l": {"min_confidence": 0.0, "min_area": 0.0},
    "reco": {"threshold": 0.0, "weak_threshold": 0.0, "num_queries": 64, "num_negatives": 128},
    "unimatch": {"threshold": 0.0},
}


class _MatchingMayWait:
    """Lets waits in the matching through as warnings; everywhere else they are errors."""

    def __init__(self) -> None:
        self._stack: list[str] = []

    def enter(self, name: str) -> None:
        """Begin a phase."""
        self._stack.append(name)
        self._set()

    def leave(self) -> None:
        """End the innermost phase."""
        self._stack.pop()
        self._set()

    def _set(self) -> None:
        torch.cuda.set_sync_debug_mode("warn" if MATCHING in self._stack else "error")


@contextmanager
def _counting_syncs() -> Iterator[Callable[[], int]]:
    """Make waits for the device errors outside of the matching; yield a function that counts those within."""
    watcher = _MatchingMayWait()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("error")
        phase_watchers.append(watcher)
        try:
            yield lambda: sum(WAITS in str(warning.message) for warning in caught)
        finally:
            phase_watchers.remove(watcher)
            torch.cuda.set_sync_debug_mode("default")


def syncs(context: Context) -> None:
    """A step of each method, its data included, waits for the device only where it is allowed to."""
    cells, request = context.cells("syncs", context.sizes.check)
    for planned in cells:
        subject = open_subject(planned, request)
        for _ in range(2):  # what happens once happens here
            subject.loop()
        torch.cuda.synchronize()
        waits: int | str
        try:
            with _counting_syncs() as count:
                subject.loop()
            waits = count()
        except RuntimeError as error:
            waits = f"{' '.join(str(error).split())[:120]} at {_place(error)}"
        context.report.note(f"waits in a step of {subject.name}", waits, "", exactly(SYNCS.get(subject.name, 0)))
        del subject
        release()


def _place(error: BaseException) -> str:
    """Return where in this repository's own code an error came from."""
    import traceback

    from bench.files import REPOSITORY

    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(REPOSITORY))]
    own = [f for f in frames if ".venv" not in f.filename]
    return f"{own[-1].filename.removeprefix(f'{REPOSITORY}/')}:{own[-1].lineno}" if own else "?"


def losses(context: Context) -> None:
    """The losses of one step, from the same weights and images, agree with the CPU's within 1e-4 of their size."""
    cells, request = context.cells("losses", context.sizes.check, options=OPTIONS)
    for planned in cells:
        found = []
        for device in ("cpu", "cuda"):
            subject = open_subject(planned, request, device)
            with torch.no_grad():
                found.append({k: float(v) for k, v in subject.stepper.method.losses(subject.one_batch).items()})
            del subject
        release()
        host, gpu = found
        least = 1e-3 * sum(map(abs, host.values()))  # a loss that is next to nothing is held against the sum
        worst = max(abs(host[name] - gpu[name]) / max(abs(host[name]), least) for name in host)
        context.report.note(f"relative difference, {planned.coords['method']}", worst, "", at_most(1e-4, MEANINGLESS))
        context.report.note(f"losses of {planned.coords['method']}", " ".join(f"{k} {v:.5g}" for k, v in host.items()))


def _exact(query: Tensor, keys: Tensor, scale: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp (T,) and its gradient (T, D) by autograd on gathered keys, in float64 on the CPU."""
    query = query.double().cpu().requires_grad_()
    keys, scale, index = keys.double().cpu(), scale.double().cpu(), index.long().cpu()
    value = ((keys[index] @ query.unsqueeze(2)).squeeze(2) * scale[index]).logsumexp(1)
    return value.detach(), torch.autograd.grad(value.sum(), query)[0]


def kernels(context: Context) -> None:
    """ReCo's negatives, in a GPU's version and in a CPU's, agree with float64, and give the same bits twice."""
    from bench.kernels import assuming
    from methods.losses.negatives import bag_kernel

    cells, request = context.cells("kernels", context.sizes.check, ["supervised"])
    device = open_subject(cells[0], request).device  # and torch is set up as in a run
    queries, negatives, rows = context.sizes.keys
    draw = torch.Generator().manual_seed(0)
    query, keys = torch.randn(queries, 256, generator=draw), torch.randn(rows, 256, generator=draw)
    scale = 2 / keys.norm(dim=1)  # a cosine at temperature 0.5
    query /= query.norm(dim=1, keepdim=True)
    index = torch.randint(rows, (queries, negatives), generator=draw, dtype=torch.int32)
    expected = _exact(query, keys, scale, index)
    inputs = [tensor.to(device) for tensor in (query, keys, scale, index)]
    for version in ("cuda", "cpu"):
        with assuming(version):
            first, second = bag_kernel(*inputs), bag_kernel(*inputs)
        for what, got, want in zip(("value", "gradient"), first, expected, strict=True):
            error = float((got.double().cpu() - want).abs().max() / want.abs().max())
            context.report.note(f"{version} version, error of the {what}", error, "", at_most(1e-5, MEANINGLESS))
        same = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        context.report.note(f"{version} version, the same bits twice", float(same), "", at_least(1, MEANINGLESS))
