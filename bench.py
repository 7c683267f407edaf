"""Command line of SemiSegBench: ``python bench.py VERB``."""

from bench.cli import main

if __name__ == "__main__":
    main()
