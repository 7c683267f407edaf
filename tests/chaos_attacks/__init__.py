"""Attacks on a small grid, more of them than the tests make: ``make chaos``."""
