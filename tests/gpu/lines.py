"""The lines of the GPU check, in order of importance. Nothing here imports torch: each line runs in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line of the check.

    Attributes:
        name: on the command line, in the table and in the file.
        what: in a few words.
        function: that takes a ``Context``, as ``module:name``.
        cap: seconds after which it is stopped.
    """

    name: str
    what: str
    function: str
    cap: float


LINES = (
    Line("doctor", "the machine is as a grid needs it", "tests.gpu.cells:doctor", 60),
    Line("cells", "cells of every method in fp32 and bf16 are done", "tests.gpu.cells:every_cell", 150),
    Line("again", "the same cells once more, bit for bit", "tests.gpu.cells:again", 120),
    Line("resume", "killed and resumed, bit for bit", "tests.gpu.resume:resume", 150),
    Line("syncs", "a step waits for the device nowhere but in the matching", "tests.gpu.numbers:syncs", 60),
    Line("losses", "losses of a step on the GPU and on the CPU", "tests.gpu.numbers:losses", 60),
    Line("kernels", "ReCo's two kernels against float64", "tests.gpu.numbers:kernels", 40),
    Line("memory", "a step's memory, predicted and measured", "tests.gpu.memory:steps", 120),
    Line("times", "a step's time against the bare network's", "tests.gpu.speed:steps", 120),
    Line("loader", "images per second of the loader", "tests.gpu.speed:loader", 60),
    Line("evaluation", "time and memory of an evaluation", "tests.gpu.speed:evaluation", 45),
    Line("sweep", "the memory sweep measures every setting", "tests.gpu.memory:sweep", 60),
    Line("out-of-memory", "a cell that doesn't fit says so, and the next one runs", "tests.gpu.cells:too_large", 60),
    Line("compile", "compiled networks, with and without graphs", "tests.gpu.compiled:compiled", 150),
)
