"""Command line of SemiSegBench: ``python bench.py VERB``."""

from bench.cli import main

main()
