"""Training and evaluation of one cell: the only rooms of the harness that import torch."""
