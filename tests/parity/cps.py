"""The CPS authors' released `train.py`, with CutMix and without it, beside our method: losses and gradients, in float64."""

from __future__ import annotations

import copy
import io
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import registry
from bench.seeds import rng
from methods import mixing
from methods.base import Batch, Build
from tests.parity.checkouts import checkout, imported
from tests.parity.reco import CLASSES, Found, in_float64, relative
from tests.parity.stand_ins import Over, Silent, modules, one_process_on_the_host, recording
from tests.parity.unimatch import IMAGES, LAYERS, SIZE, STEPS, make_batch
from tests.parity.unimatch_code import normalised

FOLDERS = {"cutmix": "exp.voc/voc8.res50v3+.CPS+CutMix", "none": "exp.voc/voc8.res50v3+.CPS"}
WEIGHT = 1.5
CONFIG = {
    **{"seed": 0, "lr": 1e-4, "lr_power": 0.9, "momentum": 0.9, "weight_decay": 1e-4, "nepochs": 2, "warm_up_epoch": 0},
    **{"niters_per_epoch": 100, "bn_eps": 1e-5, "bn_momentum": 0.1, "cps_weight": WEIGHT, "num_classes": CLASSES},
    **{"train_source": "", "unsup_source": "", "pretrained_model": None, "tb_dir": ""},
    **{"cutmix_mask_prop_range": (0.25, 0.5), "cutmix_boxmask_n_boxes": 3, "cutmix_boxmask_fixed_aspect_ratio": False},
    **{"cutmix_boxmask_by_size": False, "cutmix_boxmask_outside_bounds": False, "cutmix_boxmask_no_invert": False},
}


class TheirNetwork(nn.Module):
    """One of their two networks, for images in [0, 1]; its class scores are as large as the image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.body = network

    def forward(self, image: Tensor) -> Tensor:
        """Return class scores."""
        scores: Tensor = self.body(normalised(image))[1]
        return scores


class Engine:
    """Stands in for what starts their processes: this one is the first of one, and goes on from nothing."""

    distributed, local_rank, world_size, continue_state_object = True, 0, 1, None
    state = SimpleNamespace(epoch=0)
    register_state = update_iteration = link_tb = staticmethod(lambda *_, **__: None)

    def __init__(self, **_: Any) -> None:
        pass

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class Batches:
    """Stands in for a loader, as old releases of torch had them."""

    def __init__(self, batches: list[dict[str, Tensor]], before: Callable[[], None] = lambda: None) -> None:
        self.batches, self.before = iter(batches), before

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> dict[str, Tensor]:
        """Return the next batch; after the last one the script ends."""
        self.before()
        for batch in self.batches:
            return batch
        raise Over

    next = __next__


def networks(mix: str) -> Any:
    """Return their two networks with random weights, in a module of its own."""
    stubs: dict[str, dict[str, Any]] = {
        "config": {"config": SimpleNamespace(**CONFIG)},
        "seg_opr.seg_oprs": {"ConvBnRelu": None},
    }
    with (
        modules(stubs),
        imported("torchsemiseg", "network", "base_model.resnet", within=[FOLDERS[mix], "furnace"]) as (
            module,
            resnet,
        ),
    ):
        module.__dict__["resnet50"] = lambda _, **options: resnet.ResNet(resnet.Bottleneck, LAYERS, **options)
        return module.Network(CLASSES, None, nn.BatchNorm2d).double()


def run(mix: str, network: nn.Module, loaders: Iterator[Batches], kept: list[dict[int, Tensor]]) -> list[float]:
    """Run their script around a network of theirs; return the losses that it adds up over its processes."""
    path = checkout("torchsemiseg")
    assert path is not None
    stubs: dict[str, dict[str, Any]] = {
        "config": {"config": SimpleNamespace(**CONFIG)},
        "network": {"Network": lambda *_, **__: network},
        "dataloader": {"get_train_loader": lambda *_, **__: (next(loaders), Silent()), "VOC": None},
        "utils.init_func": {
            "init_weight": lambda *_, **__: None,
            "group_weight": lambda groups, module, _, lr: [*groups, {"params": module.parameters(), "lr": lr}],
        },
        "engine.engine": {"Engine": Engine},
        "seg_opr.loss_opr": {"SigmoidFocalLoss": None, "ProbOhemCrossEntropy2d": None},
        "tensorboardX": {"SummaryWriter": Silent},
        "apex": {},
        "apex.parallel": {"DistributedDataParallel": None, "SyncBatchNorm": nn.BatchNorm2d},
    }
    with (
        modules(stubs),
        imported("torchsemiseg", within=[FOLDERS[mix], "furnace"]),
        one_process_on_the_host() as summed,
    ):
        optimizer = recording(torch.optim.SGD, kept)
        with patch.object(torch.optim, "SGD", optimizer), patch.object(sys, "argv", ["train.py"]):
            try:
                with redirect_stdout(io.StringIO()):
                    runpy.run_path(str(path / FOLDERS[mix] / "train.py"))
            except Over:
                return summed
    raise AssertionError("the script ended before its loaders did")


def boxes(batch: Batch) -> Tensor:
    """Return the boxes that our method draws, (B, 1, H, W), 1 within them."""
    mask = mixing.box_mask("cps", IMAGES, *SIZE, rng(batch.seed, "mix"), torch.device("cpu"))
    return mask[:, None].double()


def whole_steps(mix: str) -> Found:
    """Take steps of their script and of our method; return how far they are apart at most."""
    torch.manual_seed(0)
    theirs, other = networks(mix), networks(mix)
    made = [make_batch(step, padding=0) for step in range(STEPS)]
    states, kept = list[dict[str, Tensor]](), list[dict[int, Tensor]]()
    labelled = [{"data": normalised(b.labelled.image), "label": b.labelled.label} for b in made]
    pairs = [(b, u, u.partner) for b in made if (u := b.unlabelled) is not None]
    own = [{"data": normalised(u.weak), "mask_params": boxes(b)} for b, u, _ in pairs]
    partner = [{"data": normalised(p.weak)} for _, _, p in pairs if p is not None]
    loaders = [Batches(labelled, lambda: states.append(copy.deepcopy(theirs.state_dict()))), Batches(own)]
    summed = run(mix, theirs, iter([*loaders, Batches(partner)]), kept)
    mine = iter([TheirNetwork(other.branch1), TheirNetwork(other.branch2)])
    kind = registry.get("method", "cps")
    method = kind(kind.Config(mix=mix, cross_weight=WEIGHT), Build(CLASSES, lambda: next(mine), 0)).double().train()
    most: Found = {}
    for step, batch in enumerate(made):
        other.load_state_dict(states[step])
        found = compare(method, batch, summed[3 * step : 3 * step + 3])
        gradients = {**kept[2 * step], **kept[2 * step + 1]}
        both = list(zip(other.parameters(), theirs.parameters(), strict=True))
        ours = torch.cat([p.grad.flatten() for p, _ in both if p.grad is not None])
        others = torch.cat([gradients[id(q)].flatten() for _, q in both])
        found["1 - cosine of the gradients"] = 1 - float(F.cosine_similarity(ours, others, dim=0))
        most = {what: max(value, most.get(what, 0.0)) for what, value in found.items()}
    return {f"{'with' if mix == 'cutmix' else 'without'} CutMix: {what}": value for what, value in most.items()}


def compare(method: Any, batch: Batch, summed: list[float]) -> Found:
    """Return the relative differences of the losses of a step, whose gradients are left in the parameters."""
    method.zero_grad()
    with in_float64():
        terms = method.losses(batch)
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
    cross, *supervised = summed
    return {
        "supervised": relative(float(terms["supervised"].detach()), sum(supervised)),
        "on each other's labels": relative(float(terms["cross"].detach()), WEIGHT * cross),
    }


def cps() -> Found:
    """Compare CPS with CutMix and without it."""
    return {**whole_steps("cutmix"), **whole_steps("none")}
