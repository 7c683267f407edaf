"""ImageNet weights: fetched once by hand, verified by their hash, and never downloaded by a job."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import BenchError, unknown
from bench.files import file_digest

# Networks with weights in torchvision; `NAME-v2` is the newer training recipe, where torchvision has one.
_NETWORKS = ("resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v3_large")
_VERSIONS = {"": "IMAGENET1K_V1", "-v2": "IMAGENET1K_V2"}
_TIMEOUT = 60.0  # seconds without an answer


@lru_cache(maxsize=1)
def urls() -> dict[str, str]:
    """Return torchvision's download address of each weights file, by name: ``resnet50``, ``resnet50-v2``."""
    from torchvision.models import get_model_weights  # takes two seconds; planning doesn't need it

    found = {}
    for network in _NETWORKS:
        members = get_model_weights(network).__members__
        found.update({network + suffix: str(members[v].url) for suffix, v in _VERSIONS.items() if v in members})
    return found


def file_name(name: str) -> str:
    """Return torchvision's file name, e.g. ``resnet50-0676ba61.pth`` (the hex digits begin the file's SHA-256).

    Raises:
        BenchError: if torchvision has no weights of that name.
    """
    if name not in urls():
        raise unknown("weights", name, urls())
    return urls()[name].rsplit("/", 1)[-1]


def folder() -> Path:
    """Return the folder of weights files: ``BENCH_WEIGHTS``, by default ``~/.cache/semisegbench/weights``."""
    chosen = os.environ.get("BENCH_WEIGHTS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "semisegbench" / "weights"


def path_of(name: str) -> Path:
    """Return where the weights file `name` lies, or would lie once fetched. Raises BenchError for an unknown name."""
    return folder() / file_name(name)


def _hash_prefix(name: str) -> str:
    """Return the hex digits with which the SHA-256 of a weights file begins: those in its name."""
    return Path(file_name(name)).stem.rsplit("-", 1)[-1]


def _has_its_hash(path: Path, name: str) -> bool:
    return file_digest(path).startswith(_hash_prefix(name))


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Set the timeout of new sockets; torch.hub's download has none of its own and would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def fetch(name: str, base_url: str | None = None, progress: bool = False) -> Path:
    """Download a weights file, check its hash, then put it in place. At once where it is there already.

    Args:
        name: ``resnet50`` (torchvision's first weights, those of ``pretrained=True``) or ``resnet50-v2``.
        base_url: folder that serves the file instead of torchvision's own address, e.g. a mirror inside the cluster.
        progress: show torch's progress bar on standard error.

    Raises:
        BenchError: for an unknown name, a failed download, or a file whose hash isn't the one in its name.
    """
    path = path_of(name)
    if path.is_file() and _has_its_hash(path, name):
        return path
    url = f"{base_url.rstrip('/')}/{path.name}" if base_url else urls()[name]
    if not url.startswith(("https://", "http://")):
        raise BenchError(f"weights {name}: '{url}' is not an http(s) address")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _socket_timeout(_TIMEOUT):
            torch.hub.download_url_to_file(url, str(path), _hash_prefix(name), progress)
    except RuntimeError:  # torch.hub's word for another hash
        raise BenchError(
            f"weights {name}: what {url} serves has another SHA-256 than the file's name says; try again"
        ) from None
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise BenchError(f"weights {name}: cannot download {url}: {error}; check the address and the network") from None
    return path


def resolve(weights: str, backbone: str) -> str:
    """Return the name of the weights file that the option `weights` (``imagenet | imagenet-v2``) means for a backbone.

    Raises:
        BenchError: if torchvision has none.
    """
    name = backbone + weights.removeprefix("imagenet")
    if name not in urls():
        have = ", ".join(urls())
        raise BenchError(f"weights '{weights}': there are none for backbone '{backbone}' (there are: {have})")
    return name


def is_imagenet(weights: str) -> bool:
    """Tell whether the option `weights` asks for torchvision's weights, not for ``none`` or a path."""
    return weights in ("imagenet", "imagenet-v2")


def load(weights: str, backbone: str) -> dict[str, Tensor]:
    """Return the state dict that `weights` (``imagenet``, ``imagenet-v2`` or a path) means for a backbone, on the CPU.

    Raises:
        BenchError: if the file is missing (with the command that fetches it), damaged or not a state dict.
    """
    if is_imagenet(weights):
        name = resolve(weights, backbone)
        path = path_of(name)
        if not path.is_file():
            raise BenchError(f"{path} is missing: run `python bench.py weights fetch {name}` (jobs never download)")
        if not _has_its_hash(path, name):
            raise BenchError(f"{path} is damaged: delete it and run `python bench.py weights fetch {name}`")
    else:
        path = _existing_file(weights)
    return _read(path)


def _existing_file(weights: str) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise BenchError(f"weights: no file '{weights}'; give none, imagenet, imagenet-v2 or the path of a state dict")
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BenchError(f"weights: cannot read '{path}' as a PyTorch state dict: {first}") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BenchError(f"weights: '{path}' holds no plain state dict (parameter names to tensors)")
    return dict(state)


def load_into(module: nn.Module, state: Mapping[str, Tensor], ignore: tuple[str, ...], source: str) -> None:
    """Load a backbone's state dict; keys that begin with one of `ignore` (the ImageNet classifier) are left out.

    Raises:
        BenchError: if a key is missing, left over or has another shape.
    """
    own = {key: value for key, value in module.state_dict().items() if not key.startswith(ignore)}
    new = {key: value for key, value in state.items() if not key.startswith(ignore)}
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # older files are without them
    problems = [f"{key} is missing" for key in own if key not in new and key not in counters]
    problems += [f"{key} is not part of it" for key in new if key not in own]
    problems += [
        f"{key} is {tuple(new[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in new and new[key].shape != own[key].shape
    ]
    if problems:
        raise BenchError(f"weights '{source}' don't fit the backbone: {problems[0]} ({len(problems)} such keys)")
    module.load_state_dict(new, strict=False)


@lru_cache(maxsize=64)
def _hash_of(path: Path, modified_ns: int, size: int) -> str:
    return file_digest(path)


def fingerprint(weights: str, backbone: str) -> str:
    """Return what identifies initial weights in a cell: ``none``, ``imagenet:FILE`` or ``sha256:HASH``, never a path.

    Raises:
        BenchError: if a path names no file, or torchvision has no weights for the backbone.
    """
    if weights == "none":
        return weights
    if is_imagenet(weights):
        return f"imagenet:{file_name(resolve(weights, backbone))}"
    path = _existing_file(weights)
    stat = path.stat()
    return f"sha256:{_hash_of(path.resolve(), stat.st_mtime_ns, stat.st_size)}"
