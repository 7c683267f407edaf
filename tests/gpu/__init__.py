"""One command for the day a GPU is at hand, ``make gpu-check``, and the tests on the no-op CUDA runtime."""
