"""Command line of SemiSegBench: ``python bench.py VERB``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    checkout = str(Path(__file__).resolve().parent)
    if checkout not in sys.path[:1]:  # safe path mode (python -P, PYTHONSAFEPATH) leaves it out
        sys.path.insert(0, checkout)
    from bench.cli import main

    main()
