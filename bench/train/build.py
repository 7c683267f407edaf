"""Builds what a cell names: dataset, augmentation, networks and method, with weights that its init seed decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench.arrays import UInt8
from bench.errors import BenchError
from bench.seeds import derive
from bench.spec.cell import Cell
from bench.spec.resources import Compile, Resources
from bench.train.group import Group
from bench.train.host import decoding_threads
from bench.train.loader import Loader
from bench.train.norms import divide_norms
from bench.train.reader import Images, Reader
from bench.train.step import Stepper
from methods.base import Build, Method, Ohem

if TYPE_CHECKING:
    from datasets.base import SegmentationDataset
    from datasets.split import Split


def _network_factory(cell: Cell, num_classes: int) -> Callable[[], nn.Module]:
    count = 0

    def make() -> nn.Module:
        nonlocal count
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(cell.seeds.init, "network", count))
            network: nn.Module = cell.network.cls(cell.network.config, num_classes)
        count += 1
        return network

    return make


def build_method(cell: Cell, num_classes: int) -> Method:
    """Build a cell's method on the CPU; the same cell gives the same weights on every machine."""
    seed = derive(cell.seeds.init, "method")
    mining = Ohem(cell.loss.ohem_threshold, cell.loss.ohem_kept) if cell.loss.supervised == "ohem" else None
    build = Build(num_classes, _network_factory(cell, num_classes), seed, mining)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method: Method = cell.method.cls(cell.method.config, build)
    return method


def compile_networks(method: Method, network: type[nn.Module], mode: Compile = True) -> None:
    """Compile the parts of a method's networks of a class, in place: names and state stay as they are.

    The parts, because methods call a network's ``features`` and ``classify``, which are no ``forward``.

    ``reduce-overhead`` records them as CUDA graphs, one for each place in a step that calls them, for fixed shapes. A graph
    writes its outputs, and the gradients of its weights, into memory of its own, which torch gives free where a step begins
    (``Stepper``): until then all outputs of a step live beside each other, those of one part that is called twice too.
    What a method keeps beyond the step it must copy; torch raises an error where it is read later. Source: the documentation
    of ``torch._inductor.cudagraph_trees``. Not yet run on a GPU.

    Args:
        method: whose modules are compiled.
        network: their class.
        mode: ``resources.compile``, not False.
    """
    options: dict[str, Any] = {} if mode is True else {"mode": mode, "dynamic": False}
    for module in method.modules():
        if isinstance(module, network):
            for child in module.children():
                parts = child if isinstance(child, nn.ModuleList) else [child]
                for part in parts:
                    if any(part.children()):
                        part.compile(**options)


def visible_labels(cell: Cell, labelled: Sequence[str]) -> Callable[[str, UInt8], UInt8]:
    """Return what the masks of a cell's labelled images show of themselves; those of evaluated images show all.

    Images held out of the labelled ones belong to these: under `partial` they are scored on the pixels of the budget.
    """
    protocol, seed, training = cell.protocol.cls(cell.protocol.config), cell.seeds.split, frozenset(labelled)

    def visible(image_id: str, mask: UInt8) -> UInt8:
        seen: UInt8 = protocol.visible(image_id, mask, seed) if image_id in training else mask
        return seen

    return visible


def divide(cell: Cell, method: Method, group: Group | None) -> None:
    """Give a method the statistics of its recipe, and each process of a group its share of the networks' work."""
    divide_norms(method, cell.numerics.batch_norm_parts, group)
    if group is not None:
        group.divide(method, cell.network.cls)


def build_stepper(
    cell: Cell, num_classes: int, device: torch.device, compiled: Compile = False, group: Group | None = None
) -> Stepper:
    """Return what takes a cell's steps, at its start, on its device; with a group, together with its other processes.

    Raises:
        BenchError: if CUDA graphs are asked for on a CPU, where torch would silently do without them, or networks are to be
            compiled that several processes divide.
    """
    if compiled and group is not None:
        raise BenchError("resources.compile: networks that several processes divide can't be compiled; set it to false")
    graphs = compiled == "reduce-overhead"
    if graphs and device.type != "cuda":
        raise BenchError(f"resources.compile: 'reduce-overhead' needs a GPU, and this is {device}; use true or false")
    memory_format = torch.channels_last if cell.numerics.channels_last else torch.contiguous_format
    method = build_method(cell, num_classes).to(device).to(memory_format=memory_format)
    divide(cell, method, group)
    if compiled:
        compile_networks(method, cell.network.cls, compiled)
    return Stepper(cell, method, device, graphs, group)


def build_reader(
    cell: Cell, dataset: SegmentationDataset, split: Split, resources: Resources, device: torch.device
) -> Reader:
    """Return the reader of a cell's images, and of the masks that it may see; `device` is where they go."""
    readable = (*split.budget, *dataset.ids(dataset.config.eval_split))
    threads = decoding_threads(device, resources.loader_threads)
    return Reader(dataset, readable, resources.cache_mb << 20, visible_labels(cell, split.budget), threads)


def build_loader(stepper: Stepper, reader: Images, split: Split, resources: Resources) -> Loader:
    """Return the batches of a cell's steps."""
    cell, method = stepper.cell, stepper.method
    schedule = cell.schedule.with_labelled_factor(method.labelled_batch_factor(cell.method.config))
    augmentation = cell.augmentation.cls(cell.augmentation.config)
    pool = split.unlabelled if method.uses_unlabelled else ()
    return Loader(
        reader,
        split.labelled,
        pool,
        augmentation,
        schedule,
        cell.seeds.data,
        stepper.device,
        resources,
        bool(split.visible_labels),
        method.strong_views,
        method.partner_batch,
    )
