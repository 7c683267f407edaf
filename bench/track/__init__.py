"""Records of runs for experiment trackers, beside the store and never instead of it."""
