"""UniMatch's released training scripts, run as they are: their own `main`, on the host, as a single process.

Networks, loaders and optimizer are handed to them in place of what they would make; the lines of a step are theirs.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import yaml
from torch import Tensor, nn

from bench.arrays import IMAGENET_MEAN, IMAGENET_STD
from tests.parity.checkouts import checkout, imported, missing
from tests.parity.stand_ins import Over, Silent, modules, one_process_on_the_host

LONG = 80  # batches that an epoch pretends to have


def build_network(classes: int, layers: Sequence[int] = (3, 4, 6, 3)) -> Any:
    """Return their DeepLabV3+ with random weights, its ResNet with so many blocks a stage: those of ResNet-50."""
    with imported("unimatch", "model.semseg.deeplabv3plus", "model.backbone.resnet") as (module, resnet):
        resnet.__dict__["resnet50"] = lambda pretrained, **options: resnet.ResNet(resnet.Bottleneck, layers, **options)
        return module.DeepLabV3Plus({**released_config(), "backbone": "resnet50", "nclass": classes})


def released_config() -> dict[str, Any]:
    """Return their ``configs/pascal.yaml``."""
    path = checkout("unimatch")
    assert path is not None, missing("unimatch")
    found: dict[str, Any] = yaml.safe_load((path / "configs" / "pascal.yaml").read_text("utf-8"))
    return found


def normalised(image: Tensor) -> Tensor:
    """Return images in [0, 1] as their loader gives them."""
    mean, std = (image.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std


class TheirNetwork(nn.Module):
    """Their network with the contract ``methods.base.Network``: images in [0, 1], class scores before they are enlarged.

    Args:
        network: theirs; the module takes it over.
    """

    feature_channels = 256

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.classifier = network.classifier
        network.classifier = nn.Identity()
        self.body = network
        self.num_classes: int = self.classifier.out_channels

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the first and the last stage's maps."""
        maps = self.body.backbone.base_forward(normalised(image))
        return [maps[0], maps[-1]]

    def decode(self, maps: list[Tensor]) -> Tensor:
        """Return decoder features."""
        features: Tensor = self.body._decode(*maps)
        return features

    def features(self, image: Tensor) -> Tensor:
        """Return decoder features."""
        return self.decode(self.encode(image))

    def classify(self, features: Tensor) -> Tensor:
        """Return class scores."""
        scores: Tensor = self.classifier(features)
        return scores

    def forward(self, image: Tensor) -> Tensor:
        """Return class scores."""
        return self.classify(self.features(image))

    def take(self, state: dict[str, Tensor]) -> None:
        """Take the weights of their whole network."""
        self.load_state_dict({k if k.startswith("classifier.") else f"body.{k}": v for k, v in state.items()})


class Ready:
    """Stands in for a loader: batches that are there already, after the last of which the script ends.

    Args:
        batches: what each of the iterators that the script makes of it gives, in the order in which they are made.
        before: called in front of each batch of the first iterator.
    """

    sampler = SimpleNamespace(set_epoch=lambda epoch: None)

    def __init__(self, *batches: Sequence[Any], before: Callable[[], None] = lambda: None) -> None:
        self.batches, self.before = iter(batches), before

    def __len__(self) -> int:
        return LONG

    def __iter__(self) -> Iterator[Any]:
        for batch in next(self.batches):
            self.before()
            yield batch
        raise Over


@contextmanager
def script(
    name: str, network: nn.Module, config: dict[str, Any], ids: Sequence[str] = ("a a",)
) -> Iterator[ModuleType]:
    """Import `fixmatch` or `unimatch`, ready for its `main` to be called, around a network of theirs.

    Args:
        name: of the script.
        network: that `main` is to train.
        config: keys of the YAML file beside those of ``configs/pascal.yaml``.
        ids: lines of the lists of labelled and of unlabelled images.
    """
    tensorboard = {"torch.utils.tensorboard": {"SummaryWriter": Silent}}
    with (
        tempfile.TemporaryDirectory() as folder,
        one_process_on_the_host(),
        modules(tensorboard),
        imported("unimatch", name) as (module,),
    ):
        path, images = Path(folder, "config.yaml"), Path(folder, "images.txt")
        path.write_text(yaml.safe_dump({**released_config(), **config}))
        images.write_text("\n".join(ids))
        module.__dict__.update(
            DeepLabV3Plus=lambda _: network,
            setup_distributed=lambda port: (0, 1),
            init_log=lambda *_: logging.getLogger("unimatch"),
        )
        lists = ["--labeled-id-path", str(images), "--unlabeled-id-path", str(images)]
        with patch.object(sys, "argv", [name, "--config", str(path), *lists, "--save-path", folder]):
            yield module


def run(module: ModuleType, labelled: Any, unlabelled: Any, optimizer: type[torch.optim.Optimizer]) -> None:
    """Call a script's `main` with these in place of its loaders and its optimizer, until they have no more batches."""
    loaders = iter((labelled, unlabelled, None))
    module.__dict__.update(
        SemiDataset=lambda *_, **__: SimpleNamespace(ids=["a"] * LONG, __len__=lambda: LONG),
        DataLoader=lambda *_, **__: next(loaders),
        SGD=optimizer,
    )
    with patch.object(torch.utils.data.distributed, "DistributedSampler", Silent):
        try:
            module.main()
        except Over:
            return
    raise AssertionError("the script ended before its loaders did")
