"""Whether a method, network, dataset or augmentation keeps its contract, in small."""
