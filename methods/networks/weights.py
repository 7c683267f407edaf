"""ImageNet weights: fetched once by hand, verified by their hash, and never downloaded by a job."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from bench.errors import BenchError, unknown
from bench.files import file_digest
from methods.networks import timm_weights
from methods.networks.timm_weights import TIMM
from methods.networks.weight_files import folder, read_state

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
        name: ``resnet50`` (torchvision's first weights, those of ``pretrained=True``), ``resnet50-v2`` or ``timm/NAME``.
        base_url: folder that serves the file instead of torchvision's own address, e.g. a mirror inside the cluster; for
            timm's, a mirror of the Hugging Face Hub.
        progress: show torch's progress bar on standard error.

    Raises:
        BenchError: for an unknown name, a failed download, or a file whose hash isn't the one in its name.
    """
    if name.startswith(TIMM):
        return timm_weights.fetch(name.removeprefix(TIMM), base_url)
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
        BenchError: if there are none.
    """
    if weights == "imagenet" and backbone.startswith(TIMM):
        return timm_weights.name_of(backbone.removeprefix(TIMM))
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
        if backbone.startswith(TIMM):
            return timm_weights.load(backbone.removeprefix(TIMM))
        path = _fetched(name)
        if not _has_its_hash(path, name):
            raise BenchError(f"{path} is damaged: delete it and run `python bench.py weights fetch {name}`")
    else:
        path = _existing_file(weights)
    return read_state(path)


def needs(weights: str, backbone: str) -> dict[str, str]:
    """Return the file that `weights` means for a backbone, with what to say where it isn't there; empty for ``none``.

    Raises:
        BenchError: if there are no such weights.
    """
    if weights == "none":
        return {}
    if is_imagenet(weights) and backbone.startswith(TIMM):
        return timm_weights.needs(backbone.removeprefix(TIMM))
    if is_imagenet(weights):
        name = resolve(weights, backbone)
        return {str(path_of(name)): _missing(name)}
    return {str(_existing_file(weights)): f"weights: no file '{weights}'"}


def _missing(name: str) -> str:
    return f"{path_of(name)} is missing: run `python bench.py weights fetch {name}` (jobs never download)"


def _fetched(name: str) -> Path:
    path = path_of(name)
    if not path.is_file():
        raise BenchError(_missing(name))
    return path


def _existing_file(weights: str) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise BenchError(f"weights: no file '{weights}'; give none, imagenet, imagenet-v2 or the path of a state dict")
    return path


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
        name = resolve(weights, backbone)
        return f"imagenet:{name if backbone.startswith(TIMM) else file_name(name)}"
    path = _existing_file(weights)
    stat = path.stat()
    return f"sha256:{_hash_of(path.resolve(), stat.st_mtime_ns, stat.st_size)}"
