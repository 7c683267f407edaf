"""`data prepare voc --download` from a server on this machine, through torchvision's own code."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import SBDataset
from torchvision.datasets import voc as torchvision_voc
from typer.testing import CliRunner

from bench.cli.app import app
from bench.errors import BenchError
from datasets.official.official import OfficialConfig
from datasets.voc import Voc
from tests.datasets.archived import (
    SBD_ONLY,
    TRAIN_AUG,
    prepared_voc,
    sbd_files,
    small_voc,
    voc_files,
    write_tar,
    write_tree,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_voc(monkeypatch)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve small archives where torchvision looks for the real ones; the served folder."""
    served = tmp_path / "served"
    archives = {"voc": ("VOCtrainval_11-May-2012.tar", voc_files()), "sbd": ("benchmark.tgz", sbd_files())}
    digests = {
        k: hashlib.md5(write_tar(served / name, files).read_bytes()).hexdigest()
        for k, (name, files) in archives.items()
    }
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{httpd.server_port}"
    year = {**torchvision_voc.DATASET_YEAR_DICT["2012"], "url": f"{url}/{archives['voc'][0]}", "md5": digests["voc"]}
    monkeypatch.setitem(torchvision_voc.DATASET_YEAR_DICT, "2012", year)
    monkeypatch.setattr(SBDataset, "url", f"{url}/benchmark.tgz")
    monkeypatch.setattr(SBDataset, "md5", digests["sbd"])
    yield served
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.usefixtures("small")
def test_download_from_a_server(tmp_path: Path, server: Path) -> None:
    archives, out = tmp_path / "archives", tmp_path / "out"
    Voc.download(OfficialConfig(), archives)
    dataset = prepared_voc(out, archives)
    assert dataset.ids("train") == TRAIN_AUG and dataset.check().problems == []
    for index, image_id in enumerate(lines_of(archives / "sbd" / "train.txt")):  # torchvision's own reading of SBD
        target = SBDataset(str(archives / "sbd"), "train", "segmentation")[index][1]
        if image_id in SBD_ONLY:
            np.testing.assert_array_equal(dataset.mask(image_id), np.asarray(target))
    for name in ("VOCtrainval_11-May-2012.tar", "benchmark.tgz"):
        (server / name).unlink()
    Voc.download(OfficialConfig(), archives)  # all is there


def lines_of(path: Path) -> list[str]:
    return path.read_text().split()


@pytest.mark.usefixtures("small", "server")
def test_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["data", "prepare", "voc", "--download", "--data", f"voc={out}"])
    assert done.exit_code == 0 and "voc is ready in" in done.stdout
    assert Voc(OfficialConfig(), out).check().problems == []
    assert (out / "archives" / "VOCtrainval_11-May-2012.tar").is_file()  # kept, as are the trees made of it


@pytest.mark.usefixtures("small")
def test_a_download_that_was_killed_between_two_steps(tmp_path: Path, server: Path) -> None:
    archives = tmp_path / "archives"
    write_tree(archives / "sbd", {"cls/2008_000002.mat": b"half", "img/x.jpg": b"", "train.txt": b""})
    Voc.download(OfficialConfig(), archives)
    assert prepared_voc(tmp_path / "out", archives).check().problems == []
    assert server.is_dir()


def test_a_download_that_fails(tmp_path: Path, server: Path) -> None:
    (server / "VOCtrainval_11-May-2012.tar").write_bytes(b"another file")
    with pytest.raises(BenchError, match=r"the download failed \(File not found or corrupted\.\); try again, or get"):
        Voc.download(OfficialConfig(), tmp_path / "archives")
    (server / "VOCtrainval_11-May-2012.tar").unlink()
    with pytest.raises(BenchError, match=r"the download failed \(HTTP Error 404"):
        Voc.download(OfficialConfig(), tmp_path / "elsewhere")
