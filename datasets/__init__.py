"""Datasets (one file each), label-split protocols and augmentations."""
