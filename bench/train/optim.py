"""Optimizer and learning-rate schedule. The rate is a pure function of the step, so resuming can't detach it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench import kernels
from bench.spec.sections import Optimizer


def learning_rate(config: Optimizer, step: int, iterations: int) -> float:
    """Return the base rate at a step (from 0): poly decay stepped once per `lr_every`, floored, after linear warm-up.

    Source: ReCo authors' ``PolyLR``, stepped once per epoch of 200 iterations: max(lr (1 - t/T)^0.9, 1e-6).
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    stepped = step - step % config.lr_every
    return float(max(config.lr * (1 - stepped / iterations) ** config.poly_power, config.min_lr))


def make_optimizer(config: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a method's trainable parameters, the backbone's in a group of their own.

    A group's rate is the base rate times its ``lr_factor`` (see :func:`set_learning_rate`). On CUDA the steps are fused: a
    few launches for all weights, and no temporaries as large as the network. On a CPU they are made one weight after the
    other, by torch's own choice, for the same reason.
    """
    trainable = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    backbone = [p for name, p in trainable if "backbone" in name.split(".")]
    others = [p for name, p in trainable if "backbone" not in name.split(".")]
    groups = [
        {"params": backbone, "lr_factor": config.backbone_lr_factor},
        {"params": others, "lr_factor": 1.0},
    ]
    groups = [g for g in groups if g["params"]]
    fused = True if trainable and kernels.kind(trainable[0][1].device) == "cuda" else None
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=fused)
    nesterov = config.nesterov and config.momentum > 0
    optimizer = torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=nesterov,
        weight_decay=config.weight_decay,
        fused=fused,
    )
    if fused and config.momentum > 0:
        optimizer.register_step_pre_hook(_give_momentum)
    return optimizer


def _give_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Give a momentum of 0 to weights that get their first gradient after others had theirs: torch's fused step needs it."""
    for group in optimizer.param_groups:
        moving = [p for p in group["params"] if p.grad is not None]
        new = [p for p in moving if "momentum_buffer" not in optimizer.state.get(p, {})]
        if 0 < len(new) < len(moving):
            for parameter in new:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the base rate; each group gets it times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]
