"""SemiSegBench: a reproducibility benchmark harness for semi-supervised semantic segmentation."""

__version__ = "0.1.0"

# Part of every cell's identity. Raise it when the loop, the loader, an augmentation or the evaluator
# changes a result, so that runs made before show as stale instead of being mixed with new ones.
NUMERICS = 1
