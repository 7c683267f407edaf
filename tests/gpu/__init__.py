"""What runs on a GPU: tests on the no-op CUDA runtime, and ``python -m tests.gpu`` for the day a real one is at hand."""
