"""A plug-in network for benchmarks: UniMatch's DeepLabV3+ on ResNet-50, from the checkout that ``BENCH_PARITY`` names."""

from __future__ import annotations

import sys
from pathlib import Path

import bench.config
from bench.registry import register

sys.path.insert(0, str(Path(__file__).parents[2]))  # a plug-in is a file, and this one has neighbours

from tests.parity.unimatch_code import TheirNetwork, build_network


@register("network", "unimatch_released")
class Released(TheirNetwork):
    """Their network under our contract."""

    Config = bench.config.Config

    def __init__(self, config: bench.config.Config, num_classes: int) -> None:
        super().__init__(build_network(num_classes))
