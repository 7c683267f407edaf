"""Augmentations, and what they are made of."""
