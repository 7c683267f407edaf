"""The page of a grid: all that its runs have come to, in one HTML file, or served while they run."""
