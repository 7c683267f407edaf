"""One command for the day a GPU is at hand, ``make gpu-check``, and tests on the no-op CUDA runtime of ``tests.noop_cuda``."""
