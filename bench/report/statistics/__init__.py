"""What can be concluded from runs: intervals, tests, power, and where variance comes from. On numbers alone, no files."""
