from __future__ import annotations

import functools
import hashlib
import http.server
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torchvision.models import get_model

from bench.errors import BenchError
from methods.networks import weights
from methods.networks.backbone import Stages
from methods.networks.backbones import build_backbone
from methods.networks.deeplabv3plus import DeepLabV3Plus, DeepLabV3PlusConfig


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def served(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A loopback server with one weights file, known to the module as resnet18's; yields that file."""
    made = tmp_path / "made.pth"
    torch.save(get_model("resnet18", weights=None).state_dict(), made)
    root = tmp_path / "server"
    root.mkdir()
    file = made.rename(root / f"resnet18-{hashlib.sha256(made.read_bytes()).hexdigest()[:8]}.pth")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(weights, "urls", lambda: {"resnet18": f"http://127.0.0.1:{server.server_port}/{file.name}"})
    yield file
    server.shutdown()
    server.server_close()
    thread.join()


def test_names_are_torchvisions() -> None:
    assert weights.file_name("resnet50") == "resnet50-0676ba61.pth"
    assert weights.file_name("resnet50-v2") == "resnet50-11ad3fa6.pth"
    assert "resnet18-v2" not in weights.urls()
    with pytest.raises(BenchError, match=r"unknown weights 'resnet5' .*resnet50"):
        weights.path_of("resnet5")


def test_fetch_puts_a_verified_file_in_place(served: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = weights.fetch("resnet18")
    assert not capfd.readouterr().err
    assert path == folder / served.name == weights.path_of("resnet18")
    assert path.read_bytes() == served.read_bytes()
    assert [p.name for p in folder.iterdir()] == [served.name]
    served.unlink()
    assert weights.fetch("resnet18") == path  # there already


def test_fetch_from_a_mirror(served: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = weights.urls()["resnet18"].rsplit("/", 1)[0]
    monkeypatch.setattr(weights, "urls", lambda: {"resnet18": f"https://nowhere.invalid/{served.name}"})
    assert weights.fetch("resnet18", base_url=f"{base}/").is_file()
    weights.path_of("resnet18").unlink()
    with pytest.raises(BenchError, match="not an http"):
        weights.fetch("resnet18", base_url=served.parent.as_uri())


def test_fetch_repairs_a_damaged_file(served: Path, folder: Path) -> None:
    folder.mkdir()
    weights.path_of("resnet18").write_bytes(b"half of it")
    assert weights.fetch("resnet18").read_bytes() == served.read_bytes()


def test_fetch_shows_progress_where_asked(served: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights.fetch("resnet18", progress=True)
    assert re.search(r"100(\.0)?%", capfd.readouterr().err)  # tqdm's bar, or torch's own where there is no tqdm


def test_a_failed_fetch_leaves_the_file_that_is_there(served: Path, folder: Path) -> None:
    folder.mkdir()
    weights.path_of("resnet18").write_bytes(b"half of it")
    served.write_bytes(served.read_bytes()[:1000])
    with pytest.raises(BenchError, match="another SHA-256"):
        weights.fetch("resnet18")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {served.name: b"half of it"}


def test_a_server_that_does_not_answer_is_given_up(served: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/{served.name}"
        monkeypatch.setattr(weights, "urls", lambda: {"resnet18": url})
        monkeypatch.setattr(weights, "_TIMEOUT", 0.2)
        with pytest.raises(BenchError, match=r"cannot download .*timed out"):
            weights.fetch("resnet18")
    assert socket.getdefaulttimeout() is None and not list(folder.iterdir())


def test_fetch_refuses_what_has_another_hash(served: Path, folder: Path) -> None:
    served.write_bytes(b"a login page")
    with pytest.raises(BenchError, match="another SHA-256"):
        weights.fetch("resnet18")
    assert list(folder.iterdir()) == []


def test_fetch_reports_a_failed_download(served: Path, folder: Path) -> None:
    served.unlink()
    with pytest.raises(BenchError, match=r"cannot download http://127.0.0.1.*404"):
        weights.fetch("resnet18")
    assert list(folder.iterdir()) == []


def test_a_network_starts_from_fetched_weights(served: Path, folder: Path) -> None:
    with pytest.raises(BenchError, match="weights fetch resnet18"):
        DeepLabV3Plus(DeepLabV3PlusConfig(backbone="resnet18", weights="imagenet"), 3)
    path = weights.fetch("resnet18")
    net = DeepLabV3Plus(DeepLabV3PlusConfig(backbone="resnet18", weights="imagenet"), 3)
    state = torch.load(served, weights_only=True)
    assert isinstance(net.backbone, Stages)
    assert torch.equal(net.backbone.stages[0].get_parameter("0.weight"), state["conv1.weight"])
    assert torch.equal(net.backbone.stages[3].get_parameter("1.conv2.weight"), state["layer4.1.conv2.weight"])
    path.write_bytes(b"damaged")
    with pytest.raises(BenchError, match="is damaged"):
        build_backbone("resnet18", 16, "imagenet")


def test_weights_from_a_path(tmp_path: Path) -> None:
    source = get_model("mobilenet_v3_large", weights=None)
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}  # as older files
    torch.save(state, tmp_path / "mine.pth")
    backbone = build_backbone("mobilenet_v3_large", 16, str(tmp_path / "mine.pth"))
    own = list(backbone.parameters())
    features = list(source.get_submodule("features").parameters())
    assert len(own) == len(features)
    assert all(torch.equal(a, b) for a, b in zip(own, features, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": None}, "conv1.weight is missing"),
        ({"head.weight": torch.zeros(1)}, "head.weight is not part of it"),
        ({"bn1.bias": torch.zeros(3)}, r"bn1.bias is \(3,\) instead of \(64,\)"),
    ],
)
def test_a_state_dict_that_does_not_fit(tmp_path: Path, change: dict[str, torch.Tensor | None], message: str) -> None:
    state = get_model("resnet18", weights=None).state_dict() | change
    torch.save({k: v for k, v in state.items() if v is not None}, tmp_path / "x.pth")
    with pytest.raises(BenchError, match=f"don't fit the backbone: {message} \\(1 such keys\\)"):
        build_backbone("resnet18", 16, str(tmp_path / "x.pth"))


def test_files_that_are_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(BenchError, match="no file"):
        weights.load(str(path), "resnet18")
    path.write_text("text")
    with pytest.raises(BenchError, match="cannot read"):
        weights.load(str(path), "resnet18")
    torch.save({"epoch": 3}, path)
    with pytest.raises(BenchError, match="no plain state dict"):
        weights.load(str(path), "resnet18")
    torch.save(nn.Linear(1, 1), path)  # a pickled object, which could run code
    with pytest.raises(BenchError, match="cannot read"):
        weights.load(str(path), "resnet18")


def test_identity_has_no_path(tmp_path: Path) -> None:
    contents = b"weights"
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(contents)
        config = DeepLabV3PlusConfig(backbone="tiny", weights=str(tmp_path / name))
        assert config.identity()["weights"] == f"sha256:{hashlib.sha256(contents).hexdigest()}"
    assert weights.fingerprint("none", "tiny") == "none"
    assert weights.fingerprint("imagenet", "resnet101") == "imagenet:resnet101-63fe2227.pth"
    assert weights.fingerprint("imagenet-v2", "resnet101") == "imagenet:resnet101-cd907fc2.pth"
    with pytest.raises(BenchError, match="no file"):
        weights.fingerprint("missing.pth", "tiny")


@pytest.mark.parametrize("options", [("tiny", "imagenet"), ("resnet18", "imagenet-v2")])
def test_imagenet_weights_that_do_not_exist(options: tuple[str, str]) -> None:
    with pytest.raises(ValidationError, match="there are none for backbone"):
        DeepLabV3PlusConfig.model_validate({"backbone": options[0], "weights": options[1]})
